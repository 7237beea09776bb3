"""Time LPOSS and LPOSS+ on one image, as published and in this package.

    python tools/speed/label_propagation.py [--names 21 171 847]
        [--threads 1] [--runs 3]

A generated image of 512 x 683 at the authors' size (shorter side 448): 15 windows of
224 x 224 with 2940 patches, random features of 768 channels. ``published`` is the plain
way: sparse matrices, name by name, in float64. Graphs are built once for all names.
Pixels of many names are timed with 32 of them (published: 2) and scaled.
"""

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
import torch.nn.functional as F
from plain_label_propagation import patch_weights, pixel_weights, propagate
from timing import Cell, Runs, parse_args, take_turns

from mmseg_ovs.models.postprocessors import PixelPropagation
from mmseg_ovs.models.postprocessors.pixel_propagation import rgb_to_lab
from mmseg_ovs.models.segmentors.label_propagation import patch_affinity
from mmseg_ovs.models.segmentors.settings import PropagationCfg
from mmseg_ovs.models.utils import window_grid
from mmseg_ovs.models.utils.conjugate_gradient import conjugate_gradient

SIZE = (448, 598)
PLAIN, OURS = 'published', 'mmseg_ovs'


def show(stage: str, runs: Runs, count: int, scale: dict[str, float] | None) -> dict:
    """Time a stage and print its line; the results."""
    cells, results = take_turns(runs, count)
    scale = scale or {}
    plain, ours = (
        Cell(cells[name].seconds * scale.get(name, 1), cells[name].mb)
        for name in (PLAIN, OURS)
    )
    print(
        f'{stage:<24} {plain.seconds:9.2f} s {plain.mb:7.0f} MB   '
        f'{ours.seconds:8.2f} s {ours.mb:6.0f} MB   '
        f'{plain.seconds / ours.seconds:6.1f} x',
        flush=True,
    )
    return results


@torch.no_grad()
def main() -> None:
    """Time everything by turns."""
    args = parse_args(
        __doc__, **{'--names': dict(nargs='+', type=int, default=[21, 171, 847])}
    )
    cfg, pixels = PropagationCfg(), PixelPropagation()
    cells = torch.arange(8, 224, 16)
    places = torch.cat(
        [
            torch.cartesian_prod(cells + window.top, cells + window.left)
            for window in window_grid(SIZE, (224, 224), (112, 112))
        ]
    ).float()
    features = F.normalize(torch.randn(len(places), 768) + torch.randn(768))
    image = F.interpolate(255 * torch.rand(1, 3, 24, 32), SIZE, mode='bicubic')
    image = image[0].clamp(0, 255)
    lab = rgb_to_lab(image.flatten(1) / 255).view_as(image)
    lab /= torch.tensor([100, 128, 128]).view(3, 1, 1)
    print(f'{len(places)} patches; {PLAIN}, {OURS}, ratio of times')
    settings = (cfg.neighbours, cfg.gamma, cfg.sigma)
    graphs = show(
        'graph of patches',
        {
            PLAIN: lambda: patch_weights(features, places, *settings),
            OURS: lambda: patch_affinity(features, places, cfg),
        },
        args.runs,
        None,
    )
    for count in args.names:
        scores = torch.randn(count, len(places))

        def ours(scores: torch.Tensor = scores) -> torch.Tensor:
            weights = graphs[OURS]
            return conjugate_gradient(
                lambda x: torch.addmm(x, weights, x, alpha=-cfg.alpha), scores.t(), 10
            ).t()

        found = show(
            f'patches, {count} names',
            {PLAIN: lambda s=scores: propagate(graphs[PLAIN], s), OURS: ours},
            args.runs,
            None,
        )
        difference = (found[OURS] - found[PLAIN]).abs().max() / found[PLAIN].abs().max()
        print(f'{"":<24} largest difference over the largest score {difference:.0e}')
    graphs = show(
        'graph of pixels',
        {
            PLAIN: lambda: pixel_weights(lab, pixels.window, pixels.tau),
            OURS: lambda: pixels.prepare(image),
        },
        1,
        None,
    )
    for count in args.names:
        maps = torch.randn(min(count, 32), *SIZE)
        show(
            f'pixels, {count} names',
            {
                PLAIN: lambda m=maps: propagate(graphs[PLAIN], m[:2].flatten(1)),
                OURS: lambda m=maps: pixels.refine(m, graphs[OURS]),
            },
            1,
            {PLAIN: count / 2, OURS: count / len(maps)},
        )


if __name__ == '__main__':
    main()
