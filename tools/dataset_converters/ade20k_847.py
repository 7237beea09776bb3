"""Convert ADE20K-full (ADE20K_2021_17_01) to A-847 with 16-bit labels.

python tools/dataset_converters/ade20k_847.py data/ade/ADE20K_2021_17_01 --splits val
"""

import sys
from pathlib import Path

import mmseg_ovs  # noqa: F401  before anything of mmseg
from mmseg_ovs.datasets.converters import plan_ade20k_847
from mmseg_ovs.datasets.converters.command_line import convert_splits, make_parser


def main(argv: list[str] | None = None) -> int:
    """Convert; the exit code."""
    parser = make_parser(__doc__.splitlines()[0], 'ADE20K_2021_17_01')
    parser.add_argument(
        '--out', type=Path, help='default: ADE20K_847 next to the source folder'
    )
    args = parser.parse_args(argv)
    out = args.out or args.folder.resolve().parent / 'ADE20K_847'
    return convert_splits(args, lambda split: plan_ade20k_847(args.folder, out, split))


if __name__ == '__main__':
    sys.exit(main())
