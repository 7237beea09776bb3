"""Time the parts that were tuned against the plain way, on this processor.

    python tools/speed/parts.py [PART ...] [--threads 1] [--runs 3] [--stock-memory]

Parts: anyup, aggregation, labels, pamr. The lines are those of the table of processors
in docs/speed.md; ``MKL`` and ``oneDNN`` are this package with its products in either
library. Random weights. Scores are those of ``row_bounds.py``: of clear ones most names
are left out on the way to labels, of noisy ones none.
"""

from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
from chain import OURS, PUBLISHED, Chain, largest_difference, set_words
from mmengine.registry import init_default_scope
from plain_anyup import PlainAnyUp
from plain_cost_aggregation import plain_aggregator
from row_bounds import FAMILIES, scores, words
from timing import Cell, parse_args, take_turns
from torch import nn

from mmseg_ovs.acceleration import choose_onednn, run_linears_in_onednn
from mmseg_ovs.models.decode_heads.cost_aggregation import Aggregator
from mmseg_ovs.models.necks import AnyUp
from mmseg_ovs.models.utils import load_pretrained


def anyup(runs: int) -> None:
    """A grid to a finer one; 16 or 14 pixels a patch, 1024 channels."""
    neck, plain = AnyUp().eval(), PlainAnyUp().eval()
    load_pretrained(neck, plain.state_dict())
    for grid, target, pixels in ((24, 96, 384), (24, 384, 384), (32, 448, 448)):
        inputs = (
            torch.randn(1, 3, pixels, pixels),
            torch.randn(1, 1024, grid, grid),
            (target, target),
        )
        name = f'AnyUp, {grid} -> {target}'
        in_both_libraries(name, plain, neck, neck.upsample, inputs, runs)


def aggregation(runs: int) -> None:
    """CAT-Seg's aggregator of CLIP ViT-B at its own 24 x 24 positions."""
    guides = 256, 128
    model = Aggregator(512, 1, 512, guides).eval()
    for names in (21, 150):
        inputs = (
            torch.randn(1, 512, 24, 24),
            torch.randn(names, 1, 512),
            torch.randn(1, 512, 24, 24),
            [torch.randn(1, guides[i], 48 * 2**i, 48 * 2**i) for i in range(2)],
        )
        in_both_libraries(
            f'cost aggregation, {names} names',
            lambda *inputs: plain_aggregator(model, *inputs),
            model,
            model,
            inputs,
            runs,
        )


def in_both_libraries(
    name: str,
    plain: Callable[..., Any],
    part: nn.Module,
    ours: Callable[..., Any],
    inputs: tuple,
    count: int,
) -> None:
    """Print the line of a part that multiplies matrices."""

    def run(onednn: bool) -> Any:
        run_linears_in_onednn(part, onednn)
        return ours(*inputs)

    runs = {PUBLISHED: lambda: plain(*inputs)}
    runs |= {'MKL': lambda: run(False), 'oneDNN': lambda: run(True)}
    cells, results = take_turns(runs, count)
    difference = max(largest_difference(results[n], results[PUBLISHED]) for n in runs)
    show(name, cells, f'{difference:.0e}')


def through(part: str, runs: int) -> None:
    """Two windows of 448 in an image of 512 x 683: through PAMR, or to labels."""
    with TemporaryDirectory() as folder:
        chain = Chain('talk2dino', Path(folder), runs)
        with redirect_stdout(None):
            chain.read()
        for names in (150, 847):
            set_words(chain.model, names, chain.system.text_channels, chain.folder)
            areas = torch.randint(FAMILIES, (4, 4)).repeat_interleave(112, 0)
            areas = areas.repeat_interleave(112, 1)
            kinds = dict(clear=0.2, noisy=4.0) if part == 'labels' else dict(noisy=4.0)
            for kind, noise in kinds.items():
                grid = scores(areas, words(names), noise)
                chain.grids = [grid, grid.flip(-1)]
                with redirect_stdout(None):
                    row = getattr(chain, part)()
                cells = {n: row.cells[n] for n in (PUBLISHED, OURS)}
                show(f'{row.stage}, {names} {kind} names', cells, str(row.difference))


def show(name: str, cells: dict[str, Cell], difference: str) -> None:
    """Print seconds, memory and gains of a part."""
    plain = cells[PUBLISHED].seconds
    words = [
        f'{way} {cell.seconds:.3g} s {cell.mb:.0f} MB ({plain / cell.seconds:.1f}x)'
        for way, cell in cells.items()
    ]
    print(f'{name}: {", ".join(words)}; difference {difference}', flush=True)


PARTS = {'anyup': anyup, 'aggregation': aggregation}
PARTS |= {
    part: lambda runs, part=part: through(part, runs) for part in ('labels', 'pamr')
}


@torch.inference_mode()
def main() -> None:
    """Run the parts asked for."""
    parts = dict(nargs='*', choices=[[], *PARTS], metavar='PART', help=', '.join(PARTS))
    args = parse_args(__doc__, parts=parts)
    init_default_scope('mmseg')
    choice = {None: 'neither', True: 'oneDNN', False: 'MKL'}
    print(f'chosen here: {choice[choose_onednn(nn.Linear(1, 1))]}')
    for name in args.parts or PARTS:
        PARTS[name](args.runs)


if __name__ == '__main__':
    main()
