"""Compare pseudo-masks with COCO's labels, where both exist.

    python tools/pseudo_masks/audit.py data/coco/pseudo_masks/train2017.json \\
        --labels data/coco/annotations/instances_train2017.json \\
        data/coco/annotations/stuff_train2017.json --out work_dirs/audit

Writes ``scores.csv`` (quality by score, to choose ``min_score``), ``nouns.csv``,
``classes.csv`` and ``audit.json``; with ``--sheets`` pictures of the worst images. See
docs/pseudo_masks.md.
"""

import argparse
import csv
import io
import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import cv2

import mmseg_ovs  # noqa: F401  before anything of mmseg
from mmseg_ovs.benchmark.markdown import markdown_table
from mmseg_ovs.jobs import file_digest, write_json
from mmseg_ovs.pseudo_masks import Audit, LabelMasks, PseudoMaskError, audit_sheet
from mmseg_ovs.pseudo_masks.errors import UnreadableImageError
from mmseg_ovs.pseudo_masks.images import read_image
from mmseg_ovs.utils import OutputFolder, exit_with_message, write_whole

BINS = (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8)
MOST = 20  # rows of a table on the screen


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('masks', type=Path, help='file of the merge stage')
    parser.add_argument(
        '--labels',
        required=True,
        type=Path,
        nargs='+',
        help='instances_*.json and stuff_*.json of the same images',
    )
    parser.add_argument(
        '--out', required=True, type=Path, action=OutputFolder, help='output folder'
    )
    parser.add_argument(
        '--bins',
        type=float,
        nargs='+',
        default=BINS,
        help='lower bounds of the bins of scores, ascending; the first bin is below',
    )
    parser.add_argument(
        '--classes',
        type=Path,
        help='JSON of nouns with the classes they name ({"glass": ["wine glass"]}), '
        'in place of the built-in rules for them; [] leaves a noun out',
    )
    parser.add_argument(
        '--sheets',
        type=int,
        default=0,
        metavar='N',
        help='draw the N images with the lowest IoU; needs --images',
    )
    parser.add_argument('--images', type=Path, help='folder of the images')
    args = parser.parse_args(argv)
    args.bins = [0.0, *args.bins]
    rising = all(low < high for low, high in pairwise(args.bins))
    if not (rising and args.bins[-1] <= 1):
        parser.error(f'--bins have to ascend within 0..1, not {args.bins[1:]}')
    if args.sheets < 0 or (args.sheets > 0) != (args.images is not None):
        parser.error('--sheets N and --images FOLDER go together')
    return args


def read_classes(file: Path | None) -> dict[str, list[str]]:
    """Classes of nouns from a file.

    Raises:
        PseudoMaskError: It is missing or something else.
    """
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text('utf-8'))
        return {noun: list(map(str, names)) for noun, names in content.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise PseudoMaskError(
            f'{file} is not a JSON of nouns with lists of classes: {error}'
        ) from error


def as_csv(rows: list[dict]) -> str:
    """Rows of the same keys as a CSV."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def as_text(rows: list[dict]) -> str:
    """Rows as a table for the screen, shares in percent."""

    def cell(key: str, value: object) -> str:
        if key == 'score' or not isinstance(value, float):
            return f'{value:.2f}' if isinstance(value, float) else str(value)
        return '' if math.isnan(value) else f'{100 * value:.1f}'

    body = [[cell(k, v) for k, v in row.items()] for row in rows[:MOST]]
    more = f'\n({len(rows) - MOST} more rows)' if len(rows) > MOST else ''
    return markdown_table(list(rows[0]), body) + more


def draw(audit: Audit, args: argparse.Namespace) -> int:
    """Draw the worst images; returns the number that could not be read."""
    folder = args.out / 'sheets'
    if any(folder.glob('*.png')):
        raise PseudoMaskError(
            f'{folder} holds pictures of an earlier run: delete it, or give another '
            '--out'
        )
    folder.mkdir(exist_ok=True)
    failures = 0
    for rank, name in enumerate(audit.worst_images()[: args.sheets], 1):
        try:
            sheet = audit_sheet(audit, name, read_image(args.images, name))
        except (UnreadableImageError, ValueError) as error:
            print(f'{name}: {error}', file=sys.stderr)
            failures += 1
            continue
        encoded = cv2.imencode('.png', sheet[..., ::-1])[1].tobytes()
        write_whole(folder / f'{rank:03}_{Path(name).stem}.png', encoded)
    return failures


@exit_with_message()
def main(argv: list[str] | None = None) -> int:
    """Compare, write, report; returns the exit code."""
    args = parse_args(argv)
    own = read_classes(args.classes)
    audit = Audit(args.masks, LabelMasks(args.labels), own)
    tables = dict(
        scores=audit.by_score(args.bins),
        nouns=audit.by_noun(),
        classes=audit.by_class(),
    )
    args.out.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        if rows:
            write_whole(args.out / f'{name}.csv', as_csv(rows))
    summary = dict(
        masks=str(args.masks),
        masks_digest=file_digest(args.masks),
        labels=[str(file) for file in args.labels],
        images=len(audit.images),
        images_without_labels=len(audit.masks) - len(audit.images),
        compared=len(audit.pairs),
        unmatched=dict(audit.unmatched.most_common()),
    )
    write_json(args.out / 'audit.json', _without_nan(dict(**summary, **tables)))
    left = sum(audit.unmatched.values())
    print(
        f'{args.masks}: {len(audit.pairs)} masks compared in {len(audit.images)} of '
        f'{len(audit.masks)} images; {left} masks of {len(audit.unmatched)} nouns name '
        'no class of the labels'
    )
    for rows in tables.values():
        if rows:
            print(f'\n{as_text(rows)}')
    failures = draw(audit, args) if args.sheets else 0
    print(f'\nwritten to {args.out}')
    return 1 if failures else 0


def _without_nan(value: object) -> object:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == '__main__':
    sys.exit(main())
