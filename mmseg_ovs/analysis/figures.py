"""The analyses as figures, drawn without a display."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from mmseg_ovs.utils import replacing

from .spectrum import RadialSpectrum

_LEGEND_ROWS = 14


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


def _save(figure: Figure, path: str | os.PathLike) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
