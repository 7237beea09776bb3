"""Count parameters and operations of a model, part by part, without its weights.

    python tools/speed/count_flops.py CONFIG [--shape 640 640] \\
        [--vocabulary ade20k_150] [--cfg-options ...]

The model is built on torch's meta device, which computes shapes and nothing else, so a
model of any size is counted in seconds. One image goes through the inference that
``test_cfg`` names; a part's figure is the sum over all windows. Counted are matrix
products and convolutions, two operations for each multiplication and addition (GFLOP);
papers that count with fvcore give the other column (GMAC) under the name of FLOPs. What
the text encoder does is done once per vocabulary and listed separately.
"""

import argparse
import copy
from functools import partial
from typing import NamedTuple

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
from mmengine.model import Sequential
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmseg_ovs.composition import MODEL_KEYS, add_config_arguments, read_config
from mmseg_ovs.models.necks import BackboneWithNeck

TEXT = 'text_encoder'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Count parameters and operations of a model, part by part'
    )
    add_config_arguments(parser)
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        default=(640, 640),
        metavar=('HEIGHT', 'WIDTH'),
        help='input size of the model',
    )
    parser.add_argument(
        '--vocabulary',
        default='ade20k_150',
        help='name of a shipped vocabulary or a file',
    )
    return parser.parse_args()


def build_on_meta(model_cfg: dict, vocabulary: str) -> nn.Module:
    """A segmentor whose weights take no memory and are never read."""
    model_cfg = copy.deepcopy(model_cfg)
    model_cfg['text_encoder'].pop('pretrained', None)  # would be waited for
    with torch.device('meta'):
        model = MODELS.build(model_cfg).eval()
    # A cache of text vectors would ask for the weights' values.
    model.text_encoder.cache_dir = None
    # Means take no products, and on this device the rows of a class have no values.
    if getattr(model.text_encoder, 'template_average', None) == 'synonyms':
        model.text_encoder.template_average = 'normalized'
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


class PartCounter(FlopCounterMode):
    """Counts the operations of parts while they run inside it.

    Args:
        parts: Parts by name.
    """

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__(display=False)
        self.flops = dict.fromkeys(parts, 0)
        for name, part in parts.items():
            part.register_forward_pre_hook(partial(self._add, name, -1))
            part.register_forward_hook(partial(self._add, name, 1))

    def _add(self, name: str, sign: int, *_: object) -> None:
        self.flops[name] += sign * self.get_total_flops()


class Row(NamedTuple):
    """A part of the table."""

    name: str
    weights: int
    trained: int
    flops: int

    def __str__(self) -> str:
        return (
            f'{self.name:<44} {self.weights / 1e6:9.2f} {self.trained / 1e6:10.2f} '
            f'{self.flops / 1e9:10.1f} {self.flops / 2e9:9.1f}'
        )


HEADER = f'{"part":<44} {"weights M":>9} {"trained M":>10} {"GFLOP":>10} {"GMAC":>9}'


def count(model: nn.Module, shape: tuple[int, int]) -> list[Row]:
    """Every part, the rest of the code, and their sum without the text encoder's work.

    Args:
        model: What :func:`build_on_meta` returns.
        shape: Height and width of the image.
    """
    parts = parts_of(model)
    weights = {
        name: [(p.numel(), p.requires_grad) for p in part.parameters()]
        for name, part in parts.items()
    }
    # The same operations with a graph: without one AnyUp and the text encoders leave
    # autocast, which the meta device does not have.
    model.requires_grad_(True)
    with FlopCounterMode(display=False) as text_counter:
        text = model.text_encoder.encode_names(model.vocabulary.rows)
    inference = model.build_inference()
    image = torch.empty(3, *shape, device='meta')
    with PartCounter(parts) as counter:
        text = model.decode_head.project_text(text)
        inference.score([inference.lay_out(image)], text)
    total = counter.get_total_flops()
    flops = {**counter.flops, TEXT: text_counter.get_total_flops()}
    rows = [
        Row(
            f'{name} ({type(part).__name__})',
            sum(n for n, _ in weights[name]),
            sum(n for n, trained in weights[name] if trained),
            flops[name],
        )
        for name, part in parts.items()
    ]
    rows.append(Row('other', 0, 0, total - sum(counter.flops.values())))
    every = [sum(getattr(row, field) for row in rows) for field in Row._fields[1:3]]
    rows.append(Row(f'sum (operations: without {TEXT})', *every, total))
    return rows


def main() -> None:
    args = parse_args()
    cfg = read_config(args, read=MODEL_KEYS)
    init_default_scope('mmseg')
    model = build_on_meta(cfg.model, args.vocabulary)
    rows = count(model, tuple(args.shape))
    height, width = args.shape
    names = len(model.vocabulary.rows)
    print(f'{args.config}, an image of {height} x {width}, {names} names')
    print(HEADER, *rows, sep='\n')


if __name__ == '__main__':
    main()
