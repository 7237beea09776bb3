"""The errors of a segmentation as tables and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mmseg_ovs.benchmark.markdown import markdown_table
from mmseg_ovs.utils import write_whole

from .errors import PARTITIONS, ErrorCounts
from .figures import plot_confusion

PAIRS = 15  # in the page and the picture


def write_errors(
    out: Path, counts: ErrorCounts, classes: Sequence[str], title: str
) -> str:
    """Write ``errors.md``, three CSV files and ``confusion.png``.

    Args:
        out: Folder.
        counts: Of a data set.
        classes: Names of the N classes.
        title: What was analysed.

    Returns:
        The page.
    """
    page = _page(counts, classes, title)
    parts = [
        [*(row.partition, row.part, f'{row.share:.6g}', row.classes)]
        + [_percent(row.iou, 4), _percent(row.accuracy, 4)]
        for row in counts.scores()
    ]
    heads = ['partition', 'part', 'share', 'classes', 'mIoU', 'mAcc']
    write_whole(out / 'parts.csv', _csv(heads, parts))
    write_whole(out / 'classes.csv', _csv(*_classes(counts, classes)))
    pairs = [
        (classes[i], classes[j], pixels, f'{share:.6g}')
        for i, j, pixels, share in counts.pairs()
    ]
    heads = ['label', 'predicted', 'pixels', 'share of the label']
    write_whole(out / 'confusion.csv', _csv(heads, pairs))
    picture, worst = out / 'confusion.png', counts.pairs()[:PAIRS]
    if worst:
        plot_confusion(picture, counts.confusion, worst, classes, title)
    else:
        picture.unlink(missing_ok=True)  # of an earlier run
    write_whole(out / 'errors.md', page)
    return page


def _page(counts: ErrorCounts, classes: Sequence[str], title: str) -> str:
    small, medium = counts.areas
    rows = [
        [
            row.part if row.partition == 'all' else f'{row.partition}: {row.part}',
            *(f'{100 * row.share:.1f}', str(row.classes)),
            *(_percent(row.iou, 2), _percent(row.accuracy, 2)),
        ]
        for row in counts.scores()
    ]
    heads = ['part', 'labelled pixels, %', 'classes', 'mIoU', 'mAcc']
    pairs = [
        [classes[i], classes[j], f'{100 * share:.1f}', str(pixels)]
        for i, j, pixels, share in counts.pairs()[:PAIRS]
    ]
    confused = markdown_table(
        ['label', 'predicted as', "% of the label's pixels", 'pixels'], pairs
    )
    return f"""# Errors: {title}

{markdown_table(heads, rows)}

Means are over the classes labelled in a part. Small: components of up to {small}
pixels, medium: up to {medium}. Thin: taken away by an opening with a disc of radius
{counts.radius}. Boundary: within {counts.dilation_ratio:g} of the diagonal. A false
alarm counts in the part that it has in the prediction.

## Most confused classes

{confused if pairs else 'None: every labelled pixel is right.'}
"""


def _classes(
    counts: ErrorCounts, classes: Sequence[str]
) -> tuple[list[str], list[list[object]]]:
    """A line for each class: IoU by part, and the three that take most pixels."""
    heads = ['class', 'labelled pixels']
    columns = []
    for key, parts in PARTITIONS.items():
        heads += [f'IoU {part}' for part in parts]
        columns += list(counts.iou(key))
    takers: dict[int, list[str]] = {}
    for i, j, _, share in counts.pairs():
        takers.setdefault(i, []).append(f'{classes[j]} {100 * share:.1f}%')
    rows = [
        [name, counts.confusion[i].sum(), *(_percent(c[i], 4) for c in columns)]
        + ['; '.join(takers.get(i, [])[:3])]
        for i, name in enumerate(classes)
    ]
    return [*heads, 'taken by'], rows


def _percent(value: float, places: int) -> str:
    """Empty where there is none."""
    return '' if np.isnan(value) else f'{100 * value:.{places}f}'


def _csv(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows([heads, *rows])
    return text.getvalue()
