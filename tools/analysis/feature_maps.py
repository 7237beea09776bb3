"""Feature maps of a backbone's layers as pictures (OVS-DINO, Figure 3).

    python tools/analysis/feature_maps.py configs/_base_/backbones/dinov2-b14.py \\
        photo.jpg --point 0.4 0.6 --out out/maps

CONFIG is any config with ``model.backbone`` and ``data_preprocessor``, or the name of
a shipped one. For each image, writes a sheet of principal components (as colours) and
of similarities of all positions to the chosen one. See docs/analysis.md.
"""

import argparse
import sys

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split

from PIL import Image

from mmseg_ovs.analysis import ImageStream, LayerFeatures, draw_feature_sheet
from mmseg_ovs.analysis.command_line import add_backbone_arguments, read_layers
from mmseg_ovs.apis.image_sources import output_names
from mmseg_ovs.composition import MODEL_KEYS, read_config
from mmseg_ovs.utils import exit_with_message, replacing


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_backbone_arguments(parser)
    parser.add_argument(
        '--point',
        nargs=2,
        type=float,
        default=(0.5, 0.5),
        metavar=('X', 'Y'),
        help='the position to compare with, in shares of width and height from the top '
        'left corner (default: the middle)',
    )
    parser.add_argument('--per-row', type=int, help='panels in a row (default: all)')
    args = parser.parse_args(argv)
    read_layers(parser, args)
    if not all(0 <= share <= 1 for share in args.point):
        parser.error(f'--point takes shares of 0 to 1, not {args.point}')
    if args.per_row is not None and args.per_row < 1:
        parser.error('--per-row is at least 1')
    return args


@exit_with_message()
def main(argv: list[str] | None = None) -> int:
    """Draw, write, report; returns the exit code."""
    args = parse_args(argv)
    images = ImageStream(args.images, args.out)
    names = dict(zip(images.sources, output_names(images.sources), strict=True))
    cfg = read_config(args, read=MODEL_KEYS)
    network = LayerFeatures(cfg, args.layers, args.weights, args.size, args.device)
    for image in images:
        maps = [features[0].cpu() for features in network(image)]
        titles = [
            name if name == 'output' else f'layer {name}' for name in network.names
        ]
        sheet = draw_feature_sheet(
            image[..., ::-1],
            dict(zip(titles, maps, strict=True)),
            tuple(args.point),
            args.per_row,
        )
        with replacing(args.out / f'{names[images.current]}.png') as temporary:
            Image.fromarray(sheet).save(temporary)
    print(f'{images.read} sheets of {network.kind}, {network.size} pixels: {args.out}')
    return images.report_failures()


if __name__ == '__main__':
    sys.exit(main())
