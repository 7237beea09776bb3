"""Parameters and operations of a config's model, part by part, without its weights.

    python tools/analysis/count_flops.py CONFIG [--shape 640 640] \\
        [--vocabulary ade20k_150] [--cfg-options ...]

The model is built on torch's meta device, which computes shapes and nothing else, so a
model of any size is counted in seconds. One picture goes through the inference that
``test_cfg`` names; a part's figure is the sum over all windows. Counted are matrix
products and convolutions, two operations for each multiplication and addition (GFLOP);
papers that count with fvcore give the other column (GMAC) under the name of FLOPs. What
the text tower does is done once for each vocabulary and stands apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
from mmengine.config import Config, DictAction
from mmengine.model import Sequential
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmseg_ovs.models.necks import BackboneWithNeck
from mmseg_ovs.models.segmentors.inference import InferenceCfg
from mmseg_ovs.models.segmentors.local_global import build_inference

TEXT = 'text_encoder'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Parameters and operations of a model, part by part'
    )
    parser.add_argument('config', help='path of a config of an OpenVocabSegmentor')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        default=(640, 640),
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the picture that the model is given',
    )
    parser.add_argument(
        '--vocabulary',
        default='ade20k_150',
        help='name of a shipped vocabulary, or a file',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='change config values'
    )
    return parser.parse_args()


def build_on_meta(model_cfg: dict, vocabulary: str) -> nn.Module:
    """A segmentor whose weights take no memory and are never read."""
    with torch.device('meta'):
        model = MODELS.build(model_cfg).eval()
    # A cache of text vectors would ask for the weights' values.
    model.text_encoder.cache_dir = None
    model.set_vocabulary(vocabulary)
    return model


def parts_of(module: nn.Module, prefix: str = '') -> dict[str, nn.Module]:
    """Parts with weights by name; rows of necks and wrapped backbones are opened."""
    parts = {}
    for name, part in module.named_children():
        name = f'{prefix}{name}'
        if isinstance(part, (Sequential, BackboneWithNeck)):
            parts.update(parts_of(part, f'{name}.'))
        elif any(True for _ in part.parameters()):
            parts[name] = part
    return parts


def count_flops(parts: dict[str, nn.Module], run: Callable[[], object]) -> dict:
    """Operations of each part while a function runs, and of 'other' code."""
    flops = dict.fromkeys(parts, 0)
    started = {}
    counter = FlopCounterMode(display=False)

    def before(name: str) -> Callable:
        def hook(*_: object) -> None:
            started[name] = counter.get_total_flops()

        return hook

    def after(name: str) -> Callable:
        def hook(*_: object) -> None:
            flops[name] += counter.get_total_flops() - started[name]

        return hook

    handles = []
    for name, part in parts.items():
        handles.append(part.register_forward_pre_hook(before(name)))
        handles.append(part.register_forward_hook(after(name)))
    try:
        with counter:
            run()
    finally:
        for handle in handles:
            handle.remove()
    return {**flops, 'other': counter.get_total_flops() - sum(flops.values())}


def count(model: nn.Module, shape: tuple[int, int]) -> list[tuple[str, int, int, int]]:
    """Name, parameters, trained parameters and operations of every part.

    Args:
        model: What :func:`build_on_meta` returns.
        shape: Height and width of the picture.
    """
    inference = build_inference(model, InferenceCfg(**(model.test_cfg or {})))
    picture = torch.empty(3, *shape, device='meta')
    parts = parts_of(model)
    weights = {name: list(part.parameters()) for name, part in parts.items()}
    trained = {n: [p for p in ws if p.requires_grad] for n, ws in weights.items()}
    # The same operations with a graph: without one AnyUp and the text encoders leave
    # autocast, which the meta device does not have.
    model.requires_grad_(True)
    text = FlopCounterMode(display=False)
    with text:
        rows = model.text_encoder.encode_names(model.vocabulary.rows)
    flops = count_flops(
        parts,
        lambda: inference.score(
            [inference.lay_out(picture)], model.decode_head.project_text(rows)
        ),
    )
    flops[TEXT] = text.get_total_flops()
    return [
        (name, _numel(weights.get(name, ())), _numel(trained.get(name, ())), operations)
        for name, operations in flops.items()
    ]


def _numel(weights: Iterable[nn.Parameter]) -> int:
    return sum(weight.numel() for weight in weights)


def format_table(rows: list[tuple[str, int, int, int]]) -> str:
    """Text table with sums; the text encoder's operations are not part of them."""
    lines = [
        f'{"part":<24} {"weights M":>9} {"trained M":>10} {"GFLOP":>10} {"GMAC":>9}'
    ]

    def line(name: str, weights: int, trained: int, operations: int) -> str:
        return (
            f'{name:<24} {weights / 1e6:9.2f} {trained / 1e6:10.2f} '
            f'{operations / 1e9:10.1f} {operations / 2e9:9.1f}'
        )

    lines += [line(*row) for row in rows]
    lines.append(
        line(
            'sum of a picture',
            sum(row[1] for row in rows),
            sum(row[2] for row in rows),
            sum(row[3] for row in rows if row[0] != TEXT),
        )
    )
    return '\n'.join(lines)


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope('mmseg')
    model = build_on_meta(cfg.model, args.vocabulary)
    rows = count(model, tuple(args.shape))
    print(
        f'{args.config}: a picture of {args.shape[0]} x {args.shape[1]}, '
        f'{len(model.vocabulary.rows)} names; {TEXT} once a vocabulary, in no sum of '
        'operations'
    )
    print(format_table(rows))


if __name__ == '__main__':
    main()
