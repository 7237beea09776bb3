"""The analyses as figures, drawn without a display."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from mmseg_ovs.evaluation.handicap_curve import CurvePoint
from mmseg_ovs.utils import replacing
from mmseg_ovs.visualization.overlay import shorten

from .spectrum import RadialSpectrum

_LEGEND_ROWS = 14
_LONGEST_NAME = 24


def plot_spectrum(
    path: str | os.PathLike, spectra: Mapping[str, RadialSpectrum], title: str
) -> None:
    """Radial profile of every layer, and the log-ratio over the layers, as PNG.

    Args:
        path: Where to.
        spectra: By name of the layer, in order, all of the same cut-off.
        title: What was analysed.
    """
    names = list(spectra)
    figure = Figure(figsize=(12, 4.5), layout='constrained')
    figure.suptitle(title, fontsize=10)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))

    colours = colormaps['viridis'](np.linspace(0, 0.92, len(names)))
    for colour, (name, spectrum) in zip(colours, spectra.items(), strict=True):
        known = spectrum.frequencies > 0
        profile = spectrum.relative_profile[known]
        left.plot(spectrum.radius[known], profile, color=colour, label=name, lw=1.3)
    cutoff = next(iter(spectra.values())).cutoff
    left.axvline(cutoff, color='0.5', ls=':', lw=1)
    left.axhline(1, color='0.5', ls='--', lw=1)
    left.set_yscale('log')
    left.set_xlabel('spatial frequency (1: half a cycle a token)')
    left.set_ylabel('power / mean over frequencies (1: white noise)')
    left.legend(
        title='layer',
        fontsize=8,
        ncols=-(-len(names) // _LEGEND_ROWS),
        loc='center left',
        bbox_to_anchor=(1, 0.5),
        frameon=False,
    )

    ratios = [spectrum.log_ratio() for spectrum in spectra.values()]
    right.plot(range(len(names)), ratios, color='0.7', zorder=1)
    right.scatter(range(len(names)), ratios, c=colours, zorder=2)
    step = -(-len(names) // 16)
    right.set_xticks(range(0, len(names), step), names[::step])
    right.set_xlabel('layer')
    right.set_ylabel(f'ln(energy above {cutoff:g} / energy below it)')
    for axes in (left, right):
        axes.grid(alpha=0.25)
    _save(figure, path)


def plot_cka(
    path: str | os.PathLike,
    matrix: np.ndarray,
    first: tuple[str, Sequence[str]],
    second: tuple[str, Sequence[str]],
    title: str,
) -> None:
    """CKA of layers as a heat map from 0 to 1, as PNG.

    Args:
        path: Where to.
        matrix: (layers of the first network, layers of the second).
        first: Name of the first network and of its layers; rows.
        second: Those of the second one; columns.
        title: What was analysed.
    """
    rows, columns = matrix.shape
    size = (3 + 0.6 * columns, 2 + 0.5 * rows)
    figure = Figure(figsize=np.maximum(size, (5.5, 4)), layout='constrained')
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots()
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap='viridis')
    for (i, j), value in np.ndenumerate(matrix):
        colour = 'black' if value > 0.6 else 'white'
        axes.text(
            j, i, f'{value:.2f}', ha='center', va='center', fontsize=8, color=colour
        )
    axes.set_yticks(range(rows), first[1])
    axes.set_xticks(range(columns), second[1])
    axes.set_ylabel(f'layer of {first[0]}')
    axes.set_xlabel(f'layer of {second[0]}')
    figure.colorbar(image, label='linear CKA (1: alike up to rotation and scale)')
    _save(figure, path)


def plot_confusion(
    path: str | os.PathLike,
    confusion: np.ndarray,
    pairs: Sequence[tuple[int, int, int, float]],
    classes: Sequence[str],
    title: str,
) -> None:
    """Where the pixels of the worst pairs' classes went, as a heat map, as PNG.

    Args:
        path: Where to.
        confusion: Pixels (N, N) by label and prediction.
        pairs: See :meth:`ErrorCounts.pairs`: their labels are the rows, the classes
            that take their pixels the columns, beside *right* and *others*.
        classes: N names.
        title: What was analysed.
    """
    rows = list(dict.fromkeys(pair[0] for pair in pairs))
    takers = list(dict.fromkeys(pair[1] for pair in pairs))
    shares = confusion[rows] / np.maximum(confusion[rows].sum(1, keepdims=True), 1)
    right = shares[range(len(rows)), rows]
    # a row's own class is in the column "right" alone
    taken = np.where(np.equal.outer(rows, takers), 0, shares[:, takers])
    others = 1 - right - taken.sum(1)
    table = 100 * np.column_stack([right, taken, others.clip(0)])
    heads = ['right', *(shorten(classes[j], _LONGEST_NAME) for j in takers), 'others']
    names = [shorten(classes[i], _LONGEST_NAME) for i in rows]

    size = (3.5 + 0.45 * len(heads), 3 + 0.32 * max(len(rows), 4))
    figure = Figure(figsize=size, layout='constrained')
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots()
    image = axes.imshow(table, vmin=0, vmax=100, cmap='viridis', aspect='auto')
    for (i, j), value in np.ndenumerate(table):
        if round(value):
            colour = 'black' if value > 60 else 'white'
            number = f'{value:.0f}'
            axes.text(j, i, number, ha='center', va='center', fontsize=8, color=colour)
    axes.axvline(0.5, color='white', lw=2)
    axes.axvline(len(heads) - 1.5, color='white', lw=2)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xticks(range(len(heads)), heads, fontsize=8, rotation=45, ha='right')
    axes.set_ylabel('label')
    axes.set_xlabel('prediction')
    figure.colorbar(image, label="% of the label's pixels")
    _save(figure, path)


def plot_handicaps(
    path: str | os.PathLike,
    points: Sequence[CurvePoint],
    chosen: CurvePoint | None,
    title: str,
) -> None:
    """Seen, unseen and harmonic mean IoU over the handicap of seen classes, as PNG.

    Args:
        path: Where to.
        points: Of the curve, at rising handicaps.
        chosen: The point to mark.
        title: What was scored.
    """
    figure = Figure(figsize=(6.5, 4.5), layout='constrained')
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots()
    for name, style in (('seen', '--'), ('unseen', ':'), ('harmonic', '-')):
        values = [getattr(point, name) for point in points]
        axes.plot([point.handicap for point in points], values, style, label=name)
    if chosen is not None:
        label = f'chosen: {chosen.handicap:.3g}'
        axes.axvline(chosen.handicap, color='0.5', lw=1, label=label)
    axes.set_xlabel('handicap of seen classes (units of the scores)')
    axes.set_ylabel('mIoU in percent')
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    _save(figure, path)


def _save(figure: Figure, path: str | os.PathLike) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
