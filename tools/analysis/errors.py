"""Where predictions are wrong: object size, thin structures, confused classes.

    python tools/test.py CONFIG CHECKPOINT --data voc21 --out out/labels
    python tools/analysis/errors.py CONFIG --data voc21 --predictions out/labels \\
        --out out/errors

Writes ``errors.md`` (the tables), ``parts.csv`` (mIoU by size, thickness, position),
``classes.csv`` (IoU by class and part, and who takes its pixels), ``confusion.csv``
(all pairs) and ``confusion.png`` (the worst). See docs/analysis.md.
"""

import argparse
import sys
from pathlib import Path

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split

from mmengine.utils import track_iter_progress

from mmseg_ovs.analysis import COCO_AREAS, ErrorCounts, LabelMaps, write_errors
from mmseg_ovs.composition import add_config_arguments, read_config, require_data
from mmseg_ovs.utils import OpenVocabError, OutputFolder, exit_with_message


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_config_arguments(parser)
    parser.add_argument(
        '--predictions',
        required=True,
        type=Path,
        help='folder that tools/test.py --out wrote for this data set',
    )
    parser.add_argument(
        '--out', required=True, type=Path, action=OutputFolder, help='output folder'
    )
    parser.add_argument(
        '--areas',
        nargs=2,
        type=int,
        default=COCO_AREAS,
        metavar=('SMALL', 'MEDIUM'),
        help='largest area of small and of medium components in pixels (default: '
        "COCO's, %(default)s)",
    )
    parser.add_argument(
        '--radius',
        type=int,
        default=3,
        help='pixels that an opening with a disc of this radius takes away are thin '
        '(default: %(default)s)',
    )
    return parser.parse_args(argv)


@exit_with_message()
def main(argv: list[str] | None = None) -> None:
    """Compare, write, print the page."""
    args = parse_args(argv)
    cfg = read_config(args)
    require_data(cfg, 'test')
    labels = LabelMaps(cfg)
    counts = ErrorCounts(
        len(labels.classes), labels.ignore_index, tuple(args.areas), args.radius
    )
    for index in track_iter_progress(range(len(labels)), file=sys.stderr):
        try:
            prediction = labels.prediction(args.predictions, index)
            counts.update(prediction, labels[index])
        except (OpenVocabError, ValueError) as error:  # a broken file is the latter
            raise OpenVocabError(f'{labels.names[index]}: {error}') from error
    if not counts.confusion.any():
        raise OpenVocabError(
            f'No pixel of the {len(labels)} images is labelled: all have the value '
            f'{labels.ignore_index}, and there is nothing to compare with'
        )
    data = args.data or Path(cfg.filename).stem
    title = f'{args.predictions}, {data}, {len(labels)} images'
    print(f'\n{write_errors(args.out, counts, labels.classes, title)}')
    print(f'Written to {args.out}')


if __name__ == '__main__':
    main()
