"""Convert PASCAL Context to all 459 classes with 16-bit labels.

python tools/dataset_converters/context459.py data/VOCdevkit/VOC2010 --splits val
"""

import sys

import mmseg_ovs  # noqa: F401  before anything of mmseg
from mmseg_ovs.datasets.converters import plan_context_459
from mmseg_ovs.datasets.converters.command_line import convert_splits, make_parser


def main(argv: list[str] | None = None) -> int:
    """Convert; the exit code."""
    parser = make_parser(__doc__.splitlines()[0], 'VOCdevkit/VOC2010')
    args = parser.parse_args(argv)
    return convert_splits(args, lambda split: plan_context_459(args.folder, split))


if __name__ == '__main__':
    sys.exit(main())
