"""Convert COCO-Stuff's pixel maps or COCO's instances to COCO-Object.

python tools/dataset_converters/coco_object.py data/coco_stuff164k --splits val
"""

import sys

import mmseg_ovs  # noqa: F401  before anything of mmseg
from mmseg_ovs.datasets.converters import plan_coco_object
from mmseg_ovs.datasets.converters.coco_object import SOURCES
from mmseg_ovs.datasets.converters.command_line import convert_splits, make_parser


def main(argv: list[str] | None = None) -> int:
    """Convert; the exit code."""
    parser = make_parser(__doc__.splitlines()[0], 'coco_stuff164k')
    parser.add_argument(
        '--source',
        choices=SOURCES,
        default=SOURCES[0],
        help='maps: COCO-Stuff, as in the papers; instances: instances_*.json',
    )
    args = parser.parse_args(argv)
    return convert_splits(
        args, lambda split: plan_coco_object(args.folder, split, args.source)
    )


if __name__ == '__main__':
    sys.exit(main())
