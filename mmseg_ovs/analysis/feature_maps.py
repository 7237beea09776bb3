"""Feature maps as pictures: principal components, and similarity to one position."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from PIL import Image, ImageDraw
from torch import Tensor

from mmseg_ovs.visualization.sheet import LegendEntry, compose_sheet

PANEL = 320  # pixels of the longer side
COLOURS = colormaps['viridis']
# Least similarity on the colour scale; values below it have its colour.
LOWEST = 0.0


def pca_colours(features: Tensor) -> np.ndarray:
    """The three largest principal components of a map as red, green and blue.

    Each is scaled so that 2 % of the positions are darkest and 2 % brightest. Signs
    are arbitrary: here the entry of largest size of each axis is positive.

    Args:
        features: (C, h, w).

    Returns:
        uint8 (h, w, 3); grey where there is no such component.
    """
    height, width = features.shape[-2:]
    rows = features.flatten(1).T.double()
    rows = rows - rows.mean(0)
    _, values, axes = torch.linalg.svd(rows, full_matrices=False)
    axes = axes[:3]
    largest = axes.abs().argmax(1, keepdim=True)
    scores = rows @ (axes * axes.gather(1, largest).sign()).T
    out = np.full((height * width, 3), 128, np.uint8)
    for i, column in enumerate(scores.T.numpy()):
        low, high = np.quantile(column, (0.02, 0.98))
        if values[i] > 1e-6 * values[0] and high > low:
            out[:, i] = 255 * ((column - low) / (high - low)).clip(0, 1)
    return out.reshape(height, width, 3)


def similarity(features: Tensor, point: tuple[float, float]) -> np.ndarray:
    """Cosine similarity of every position to the one below a point.

    Args:
        features: (C, h, w).
        point: (x, y) of 0..1 of width and height.

    Returns:
        float (h, w), -1..1.
    """
    height, width = features.shape[-2:]
    x, y = cell_of(point, (height, width))
    unit = F.normalize(features.flatten(1).double(), dim=0)
    return (unit[:, y * width + x] @ unit).view(height, width).numpy()


def cell_of(point: tuple[float, float], grid: tuple[int, int]) -> tuple[int, int]:
    """Column and row of a grid (rows, columns) below a point of 0..1."""
    x, y = (min(int(p * n), n - 1) for p, n in zip(point, reversed(grid), strict=True))
    return x, y


def draw_feature_sheet(
    image: np.ndarray,
    maps: dict[str, Tensor],
    point: tuple[float, float],
    per_row: int | None = None,
) -> np.ndarray:
    """Principal components of every map, and below them similarities to a point.

    Args:
        image: uint8 RGB (H, W, 3).
        maps: (C, h, w) by title.
        point: (x, y) of 0..1, marked in the image.
        per_row: Panels in a row; None: all.

    Returns:
        uint8 RGB (h, w, 3).
    """
    scale = PANEL / max(image.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    photo = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    marked = photo.copy()
    _mark(marked, point)
    upper, lower = [('image', photo)], [('chosen position', marked)]
    for title, features in maps.items():
        upper.append((f'{title}: PCA', _enlarge(pca_colours(features), size)))
        near = similarity(features, point)
        colours = COLOURS((near - LOWEST) / (1 - LOWEST), bytes=True)[..., :3]
        lower.append(
            (f'{title}: similarity', _enlarge(np.ascontiguousarray(colours), size))
        )
    scale = [
        LegendEntry(tuple(map(int, COLOURS(share, bytes=True)[:3])), name, '')
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
        for name in [f'{LOWEST + share * (1 - LOWEST):g}' + ' or less' * (not share)]
    ]
    font = PANEL // 20
    head = 'cosine similarity to the chosen position'
    sheets = [
        compose_sheet(upper, [], '', font, per_row),
        compose_sheet(lower, scale, head, font, per_row),
    ]
    width = max(sheet.shape[1] for sheet in sheets)
    padded = [
        cv2.copyMakeBorder(
            *(sheet, 0, 0, 0, width - sheet.shape[1]),
            cv2.BORDER_CONSTANT,
            value=(255, 255, 255),
        )
        for sheet in sheets
    ]
    return np.concatenate(padded)


def _enlarge(picture: np.ndarray, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(picture).resize(size, Image.Resampling.NEAREST)


def _mark(image: Image.Image, point: tuple[float, float]) -> None:
    x, y = (p * side for p, side in zip(point, image.size, strict=True))
    draw = ImageDraw.Draw(image)
    for radius, colour in ((8, 'black'), (6, 'white'), (4, 'red')):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
