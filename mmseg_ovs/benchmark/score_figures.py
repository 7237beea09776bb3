"""The table of a benchmark as a figure: a radar or bars."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmseg_ovs.utils import OpenVocabError, replacing

from .zoo import dataset_title

PUBLISHED = ', published'


@dataclass(frozen=True)
class Scores:
    """mIoU in percent by model and data set.

    Attributes:
        datasets: Titles of the data sets, in the order of the table.
        models: Figures by name of the model; nan where there is none.
        left_out: Models of the table that are not among them.
    """

    datasets: Sequence[str]
    models: Mapping[str, np.ndarray]
    left_out: Sequence[str] = ()

    def whole(self) -> Scores:
        """Models with a figure of every data set alone.

        Raises:
            OpenVocabError: There are none.
        """
        partial = [name for name, v in self.models.items() if np.isnan(v).any()]
        models = {name: v for name, v in self.models.items() if name not in partial}
        if not models:
            raise OpenVocabError('No model has a figure of every data set: draw bars')
        return replace(self, models=models, left_out=(*self.left_out, *partial))


def read_scores(
    path: str | os.PathLike,
    source: str = 'either',
    models: Sequence[str] | None = None,
) -> Scores:
    """Read a ``table.csv`` of ``tools/benchmark.py``.

    Args:
        path: The file.
        source: 'measured', 'published', or 'either': models with a measured figure have
            measured figures alone, others the published ones, and their name says so.
            Figures of one model never come from both. Those of random weights are none.
        models: Their names in the table; None: all.

    Raises:
        OpenVocabError: It is no such table, lacks a model, or has no figures.
    """
    try:
        with Path(path).open(newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
        cells = {(row['model'], row['data set']): _figures(row) for row in rows}
    except KeyError as error:
        raise OpenVocabError(
            f'{path} is not a table.csv of tools/benchmark.py: it has no column {error}'
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OpenVocabError(f'{path} cannot be read: {error}') from error
    known = list(dict.fromkeys(name for name, _ in cells))
    unknown = [name for name in models or () if name not in known]
    if unknown:
        raise OpenVocabError(
            f'{path} has no model {unknown[0]!r}. It has: {"; ".join(known)}'
        )
    datasets = list(dict.fromkeys(name for _, name in cells))
    wanted = ('measured', 'published') if source == 'either' else (source,)
    found, left_out = {}, []
    for model in models or known:
        none = dict.fromkeys(wanted, np.nan)
        rows = [cells.get((model, name), none) for name in datasets]
        figures = {kind: np.array([row[kind] for row in rows]) for kind in wanted}
        kind = next((k for k in wanted if not np.isnan(figures[k]).all()), None)
        if kind is None:
            left_out.append(model)
        else:
            found[model + PUBLISHED * (kind == 'published')] = figures[kind]
    if not found:
        raise OpenVocabError(f'{path} has no {" or ".join(wanted)} figures')
    return Scores([dataset_title(name) for name in datasets], found, left_out)


def _figures(row: Mapping[str, str]) -> dict[str, float]:
    """Of a line of the table; without any test it has no column mIoU."""
    measured, published = row.get('mIoU'), row['published mIoU']
    if 'AT RANDOM' in (row.get('weights') or ''):
        measured = None
    pair = dict(measured=measured, published=published)
    return {kind: float(text) if text else np.nan for kind, text in pair.items()}


def plot_scores(
    path: str | os.PathLike, scores: Scores, kind: str = 'radar', title: str = ''
) -> None:
    """Draw figures; published ones are dashed or hatched.

    Args:
        path: Where to, PNG, PDF or SVG.
        scores: What.
        kind: 'radar' (each axis from 0 to the best of its data set; a model needs
            figures of all data sets) or 'bars'.
        title: Above it.

    Raises:
        OpenVocabError: A radar has fewer than three axes, or no model has a figure on
            each.
    """
    draw, polar, size = _KINDS[kind]
    figure = Figure(figsize=size(scores), layout='constrained')
    if title:
        figure.suptitle(title, fontsize=11)
    axes = figure.subplots(subplot_kw=dict(projection='polar') if polar else None)
    draw(axes, scores)
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc='outside lower center',
        ncols=max(1, int(figure.get_figwidth() / 2.4)),
        fontsize=9,
        frameon=False,
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _colours(count: int) -> Sequence:
    """The last model, which is one's own in tables of papers, is red."""
    others = colormaps['tab20'].colors
    others = [c for i, c in enumerate(others) if i not in (6, 7)]
    return [*(others[i % len(others)] for i in range(count - 1)), 'tab:red']


def _radar(axes: Axes, scores: Scores) -> None:
    if len(scores.datasets) < 3:
        raise OpenVocabError(
            f'A radar needs at least three data sets, not {len(scores.datasets)}: draw '
            'bars'
        )
    whole = scores.whole().models
    best = np.max(list(whole.values()), axis=0)
    angles = np.linspace(0, 2 * np.pi, len(best), endpoint=False)
    ring = [*angles, angles[0]]
    for (name, values), colour in zip(whole.items(), _colours(len(whole)), strict=True):
        share = values / best
        style = '--' if name.endswith(PUBLISHED) else '-'
        axes.plot(ring, [*share, share[0]], style, color=colour, lw=1.6, label=name)
    last = [*(values / best), values[0] / best[0]]
    axes.fill(ring, last, color='tab:red', alpha=0.12)
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0.25, 0.5, 0.75, 1], [''] * 4)
    heads = [f'{d}\n{b:.1f}' for d, b in zip(scores.datasets, best, strict=True)]
    axes.set_xticks(angles, heads, fontsize=9)
    axes.tick_params(axis='x', pad=8)
    for text, side in zip(axes.get_xticklabels(), np.sin(angles).round(6), strict=True):
        text.set_ha('left' if side > 0 else 'right' if side < 0 else 'center')
    axes.set_title('outer ring: best mIoU of the data set; centre: 0', fontsize=9)


def _bars(axes: Axes, scores: Scores) -> None:
    count = len(scores.models)
    places, width = np.arange(len(scores.datasets)), 0.84 / count
    colours = _colours(count)
    for i, (name, values) in enumerate(scores.models.items()):
        axes.bar(
            places + (i - (count - 1) / 2) * width,
            np.nan_to_num(values),
            width,
            color=colours[i],
            hatch='///' if name.endswith(PUBLISHED) else None,
            edgecolor='white',
            linewidth=0.3,
            label=name,
        )
    axes.set_xticks(places, scores.datasets)
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_ylabel('mIoU, %')
    axes.grid(axis='y', alpha=0.25)
    axes.set_axisbelow(True)


_KINDS: dict[str, tuple[Callable, bool, Callable]] = {
    'radar': (_radar, True, lambda scores: (7, 6.4 + 0.1 * len(scores.models))),
    'bars': (
        _bars,
        False,
        lambda s: (max(7, 2 + len(s.datasets) * (0.4 + 0.13 * len(s.models))), 5),
    ),
}
