"""Arguments of the commands that look at a backbone's layers."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmseg_ovs.composition import add_config_arguments
from mmseg_ovs.utils import Device, OutputFolder


def add_backbone_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config, images, ``--out``, layers, weights, size and device."""
    add_config_arguments(parser)
    parser.add_argument('images', nargs='+', help='image files or folders')
    parser.add_argument(
        '--out', required=True, type=Path, action=OutputFolder, help='output folder'
    )
    parser.add_argument(
        '--layers',
        nargs='+',
        default=['all'],
        help="'all' or out_indices: blocks or stages from 0, negative from the end",
    )
    parser.add_argument(
        '--weights', help="weights of the backbone (default: the config's init_cfg)"
    )
    parser.add_argument(
        '--size', type=int, help='input side (default: data_preprocessor.size)'
    )
    parser.add_argument(
        '--device', action=Device, default='cpu', help="'cuda' for a GPU"
    )


def read_layers(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Turn ``args.layers`` into 'all' or integers, or end the command."""
    if args.layers == ['all']:
        args.layers = 'all'
        return
    try:
        args.layers = [int(value) for value in args.layers]
    except ValueError as error:
        parser.error(f"--layers takes 'all' or numbers: {error}")
