"""The tables of a benchmark: Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mmseg_ovs.evaluation.protocol import format_protocol
from mmseg_ovs.utils import write_whole

from .markdown import markdown_table
from .rows import DONE, PER_CLASS, PUBLISHED, Row
from .zoo import Zoo, dataset_title


def write_tables(
    rows: Sequence[Row], zoo: Zoo, out: Path, title: str = 'Benchmark'
) -> str:
    """Write ``table.md``, headed by the title, ``table.csv`` and ``table.tex``.

    Returns:
        The table alone as Markdown, without the protocols.
    """
    wide = _WideTable(rows, zoo)
    texts = {
        'table.md': markdown_page(rows, wide, title),
        'table.csv': csv_text(rows, zoo),
        'table.tex': latex_text(rows, wide),
    }
    for name, text in texts.items():
        write_whole(out / name, text)
    return wide.markdown()


class _WideTable:
    """A line a model, a column a data set, published figures in brackets.

    Means are of complete lines only: that over some data sets is another figure.
    """

    def __init__(self, rows: Sequence[Row], zoo: Zoo) -> None:
        self.rows, self.zoo = rows, zoo
        self.common = any(row.settings for row in rows)
        self.datasets = list(dict.fromkeys(row.data.name for row in rows))
        self.heads = ['model', 'class', 'weights']
        self.heads += ['settings'] if self.common else []
        self.heads += [dataset_title(name) for name in self.datasets] + ['mean']

    def lines(self) -> list[list[str]]:
        lines: dict[str, list[Row]] = {}
        for row in self.rows:
            lines.setdefault(row.model.name, []).append(row)
        return [self._line(name, members) for name, members in lines.items()]

    def markdown(self) -> str:
        return markdown_table(self.heads, self.lines())

    def _line(self, name: str, rows: Sequence[Row]) -> list[str]:
        kind, weights = facts(rows[0], self.zoo)
        ours = [_measured(row) for row in rows]
        theirs = [published(row, self.zoo) for row in rows]
        cells = [
            _cell(_status(row) if figure is None else figure, other)
            for row, figure, other in zip(rows, ours, theirs, strict=True)
        ]
        mean = _cell(_mean(ours) or '–', _mean(theirs))
        settings = list(dict.fromkeys(row.settings for row in rows if row.settings))
        settings = ['; '.join(settings)] if self.common else []
        return [name, kind, weights, *settings, *cells, mean]


def _measured(row: Row) -> float | None:
    done = row.status == DONE and not row.random
    return row.metrics['mIoU'] if done else None


def _status(row: Row) -> str:
    """What a cell without a score says: that of random weights is none."""
    if row.status == PUBLISHED:
        return '–'
    if row.status != DONE:
        return row.status
    return f'{row.metrics["mIoU"]:.2f} with random weights'


def _mean(values: Sequence[float | None]) -> float | None:
    if any(value is None for value in values):
        return None
    return sum(values) / len(values)


def _cell(ours: float | str, published: float | None) -> str:
    text = ours if isinstance(ours, str) else f'{ours:.2f}'
    return text if published is None else f'{text} ({round(published, 2):g})'


def published(row: Row, zoo: Zoo) -> float | None:
    """Published mIoU of a row: the plan's, else the metafile's."""
    given = row.model.published.get(row.data.name)
    if given is not None:
        return given
    return zoo.published(row.model.stem, row.data.name)


def facts(row: Row, zoo: Zoo) -> tuple[str, str]:
    """Class of the method and licence of the weights."""
    if row.status == PUBLISHED:
        return '–', PUBLISHED
    model = zoo.models.get(row.model.stem)
    if model is None:
        return 'not stated', 'not stated'
    return model.method_class or 'not stated', model.weights


_COMMON = (
    'All models were tested with the common protocol of the plan, except as the column '
    '*settings* says. Published scores were made with the protocol of each method.\n'
)


def markdown_page(rows: Sequence[Row], wide: _WideTable, title: str) -> str:
    """The table, what went wrong, and the protocol of every score."""
    notes = dict.fromkeys((row.model.name, row.model.note) for row in rows)
    notes = [f'- {name}: {note}' for name, note in notes if note]
    parts = [
        f'# {title}\n',
        'mIoU in percent, published scores in brackets. The protocol of each score is '
        'below.\n',
        *([_COMMON] if wide.common else []),
        wide.markdown() + '\n',
        *(['\n'.join(notes) + '\n'] if notes else []),
    ]
    for row in rows:
        if row.status == PUBLISHED:
            continue
        parts.append(f'## {row.title}\n')
        if row.status != DONE:
            parts.append(f'{row.status}: {row.reason}\n' if row.reason else row.status)
            continue
        if row.settings:
            parts.append(f'Settings: {row.settings}.\n')
        numbers = ', '.join(f'{k} {v}' for k, v in row.metrics.items())
        parts.append(f'{numbers}; {row.result["seconds"]} s; in `{row.folder}`\n')
        parts.append(f'```\n{format_protocol(row.protocol)}\n```\n')
    return '\n'.join(parts)


def csv_text(rows: Sequence[Row], zoo: Zoo) -> str:
    """A line for each row of the benchmark, with every figure and all its protocol."""
    metrics = list(dict.fromkeys(key for row in rows for key in row.metrics))
    aspects = list(dict.fromkeys(key for row in rows for key in row.protocol))
    head = ['model', 'data set', 'class', 'weights licence', 'settings']
    head += ['status', 'published mIoU']
    head += [*metrics, 'seconds']
    # readers of CSV go by names: a protocol, too, has a data set
    head += [f'{key} (protocol)' if key in head else key for key in aspects]
    head += ['per class', 'reason']
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(head)
    for row in rows:
        figures = row.metrics if row.status == DONE else {}
        file = row.folder / PER_CLASS if row.folder else None
        writer.writerow(
            [
                *(row.model.name, row.data.name, *facts(row, zoo)),
                *(row.settings or 'own', row.status),
                published(row, zoo),
                *(figures.get(key) for key in metrics),
                row.result.get('seconds'),
                *(row.protocol.get(key) for key in aspects),
                file if file and file.is_file() else None,
                row.reason,
            ]
        )
    return text.getvalue()


_LATEX = str.maketrans(
    {
        **{char: f'\\{char}' for char in '&%$#_{}'},
        '\\': r'\textbackslash{}',
        '~': r'\textasciitilde{}',
        '^': r'\textasciicircum{}',
        '–': '--',
    }
)


def latex_text(rows: Sequence[Row], wide: _WideTable) -> str:
    """A ``tabular`` that needs no package; protocols as comments."""
    words = len(wide.heads) - len(wide.datasets) - 1
    columns = 'l' * words + 'r' * (len(wide.heads) - words)
    lines = [
        ' & '.join(cell.translate(_LATEX) for cell in line) + r' \\'
        for line in [wide.heads, *wide.lines()]
    ]
    body = [f'\\begin{{tabular}}{{{columns}}}', r'\hline', lines[0], r'\hline']
    body += [*lines[1:], r'\hline', r'\end{tabular}']
    for row in rows:
        if row.status == DONE:
            body += ['%', f'% {row.title}']
            body += [f'% {x}' for x in format_protocol(row.protocol).splitlines()]
    return '\n'.join(body) + '\n'
