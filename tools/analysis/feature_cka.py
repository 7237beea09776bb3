"""Linear CKA between the last layers of two backbones (OVS-DINO, Figure 4).

    python tools/analysis/feature_cka.py photos/ --out out/cka \\
        --first-weights dinov2_vitb14_pretrain.pth \\
        --second-weights sam_vit_b_01ec64.pth

The default is DINOv2 ViT-B/14 and SAM ViT-B. For others give a config with
``model.backbone`` and ``data_preprocessor``, or the name of a model. Writes ``cka.csv``
and ``cka.png``. See docs/analysis.md.
"""

import argparse
import csv
import sys
from pathlib import Path

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
from mmseg_ovs.analysis import (
    ImageStream,
    LayerFeatures,
    StreamingCKA,
    paired_positions,
    plot_cka,
)
from mmseg_ovs.composition import (
    MODEL_KEYS,
    ConfigOptions,
    apply_options,
    find_config,
    read_config_file,
)
from mmseg_ovs.utils import Device, OutputFolder, exit_with_message, replacing

BACKBONES = Path(__file__).resolve().parents[2] / 'configs/_base_/backbones'
DEFAULTS = dict(
    first=str(BACKBONES / 'dinov2-b14.py'), second=str(BACKBONES / 'sam-vit-b.py')
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('images', nargs='+', help='image files or folders')
    parser.add_argument(
        '--out', required=True, type=Path, action=OutputFolder, help='output folder'
    )
    parser.add_argument('--last', type=int, default=5, help='layers per backbone')
    for which, default in DEFAULTS.items():
        group = parser.add_argument_group(f'{which} backbone')
        group.add_argument(
            f'--{which}',
            default=default,
            metavar='CONFIG',
            help=f'name of a model or path of a config (default: {Path(default).name})',
        )
        group.add_argument(
            f'--{which}-weights',
            metavar='FILE',
            help="weights file (default: the config's init_cfg)",
        )
        group.add_argument(
            f'--{which}-size',
            type=int,
            metavar='PIXELS',
            help='input side (default: data_preprocessor.size)',
        )
        group.add_argument(
            f'--{which}-options',
            nargs='+',
            action=ConfigOptions,
            default={},
            metavar='KEY=VALUE',
            help='override settings of the config',
        )
    parser.add_argument(
        '--device', action=Device, default='cpu', help="'cuda' for a GPU"
    )
    args = parser.parse_args(argv)
    if args.last < 1:
        parser.error(f'--last has to be at least 1, not {args.last}')
    return args


def build(args: argparse.Namespace, which: str) -> tuple[str, LayerFeatures]:
    """Name and layers of the 'first' or the 'second' backbone."""
    options = vars(args)
    config = find_config(options[which])
    cfg = read_config_file(config)
    apply_options(cfg, options[f'{which}_options'], MODEL_KEYS)
    network = LayerFeatures(
        cfg,
        range(-args.last, 0),
        options[f'{which}_weights'],
        options[f'{which}_size'],
        args.device,
    )
    return f'{config.stem} ({network.kind}, {network.size} pixels)', network


@exit_with_message()
def main(argv: list[str] | None = None) -> int:
    """Analyse, write, report; returns the exit code."""
    args = parse_args(argv)
    images = ImageStream(args.images, args.out)
    networks = [build(args, which) for which in DEFAULTS]
    cka = StreamingCKA()
    for image in images:
        cka.update(*paired_positions(*(network(image) for _, network in networks)))
    matrix = cka.matrix().numpy()
    first, second = ((name, network.names) for name, network in networks)
    with replacing(args.out / 'cka.csv') as path, path.open('w', newline='') as file:
        table = csv.writer(file)
        table.writerow(['first/second', *second[1]])
        for name, row in zip(first[1], matrix, strict=True):
            table.writerow([name, *(f'{value:.6f}' for value in row)])
    size = f'{images.read} images, {cka.count} positions'
    plot_cka(args.out / 'cka.png', matrix, first, second, f'Linear CKA, {size}')
    print(f'{first[0]} against {second[0]}: {size}: {args.out}')
    for name, row in zip(first[1], matrix, strict=True):
        print(f'  layer {name:>6}  ' + ' '.join(f'{value:.3f}' for value in row))
    return images.report_failures()


if __name__ == '__main__':
    sys.exit(main())
