"""A label map drawn over its image, with class names in it."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mmseg_ovs.utils import OpenVocabError

from .fonts import fit_font

LONGEST_NAME = 24
# Share of a name's box which must lie on its own class.
SHARE_INSIDE = 0.75


def shorten(name: str, length: int) -> str:
    """``name`` on one line, cut with an ellipsis to at most ``length`` characters."""
    name = ' '.join(name.split())
    return name if len(name) <= length else name[: length - 1].rstrip(' ,') + '…'


def draw_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    palette: np.ndarray,
    alpha: float,
    clear: int | None = None,
) -> np.ndarray:
    """Colour the labelled pixels of an image and darken the borders of segments.

    Args:
        image: uint8 RGB (H, W, 3).
        labels: integers (H, W); values outside the palette are left undrawn.
        palette: uint8 (N, 3).
        alpha: share of the class colour.
        clear: label that is left undrawn, too, such as a background.

    Returns:
        uint8 (H, W, 3).

    Raises:
        OpenVocabError: ``alpha`` is not in 0..1.
    """
    if not 0 <= alpha <= 1:
        raise OpenVocabError(f'The opacity has to be in 0..1, not {alpha}')
    drawn = (labels >= 0) & (labels < len(palette))
    if clear is not None:
        drawn &= labels != clear
    colours = palette[np.where(drawn, labels, 0)].astype(np.float32)
    mixed = image * (1 - alpha) + colours * alpha
    out = np.where(drawn[..., None], mixed, image)
    border = np.zeros_like(drawn)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    out[border] *= 0.45
    return out.round().astype(np.uint8)


def write_names(
    canvas: Image.Image,
    labels: np.ndarray,
    classes: Sequence[str],
    size: int,
    clear: int | None = None,
) -> None:
    """Write each class name into its largest region, where there is room.

    Large classes come first; a name that does not fit its region, or would cover
    another name, is left to the legend.

    Args:
        canvas: the overlay, drawn on in place.
        labels: integers (H, W) at the image's size.
        classes: class names.
        size: font size in pixels.
        clear: label that gets no name, such as a background.
    """
    draw = ImageDraw.Draw(canvas)
    values, counts = np.unique(labels, return_counts=True)
    taken: list[tuple[int, int, int, int]] = []
    for label in values[np.argsort(-counts)]:
        if not 0 <= label < len(classes) or label == clear:
            continue
        text, font = fit_font(shorten(classes[label], LONGEST_NAME), size)
        left, top, right, bottom = draw.textbbox((0, 0), text, font, stroke_width=2)
        width, height = ceil(right - left), ceil(bottom - top)
        mask = labels == label
        x, y = _inner_point(mask)
        # Keep the whole name on the image.
        x0 = min(max(x - width // 2, 0), canvas.width - width)
        y0 = min(max(y - height // 2, 0), canvas.height - height)
        box = (x0, y0, x0 + width, y0 + height)
        if x0 < 0 or y0 < 0 or any(_overlap(box, other) for other in taken):
            continue
        if mask[y0 : y0 + height, x0 : x0 + width].mean() < SHARE_INSIDE:
            continue
        taken.append(box)
        draw.text(
            (x0 - left, y0 - top),
            text,
            font=font,
            fill='white',
            stroke_width=2,
            stroke_fill='black',
        )


def _inner_point(mask: np.ndarray) -> tuple[int, int]:
    """A point (x, y) deep inside the largest region, central among such points."""
    padded = np.pad(mask.astype(np.uint8), 1)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(padded, connectivity=4)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    depth = cv2.distanceTransform((regions == largest).astype(np.uint8), cv2.DIST_L2, 3)
    deep = np.argwhere(depth >= 0.9 * depth.max())
    y, x = deep[((deep - deep.mean(0)) ** 2).sum(1).argmin()]
    return int(x) - 1, int(y) - 1


def _overlap(a: tuple, b: tuple) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
