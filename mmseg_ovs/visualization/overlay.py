"""A label map drawn over its picture, with class names in it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .fonts import fit_font

LONGEST_NAME = 24


def shorten(name: str, length: int) -> str:
    """``name`` on one line, cut with an ellipsis to at most ``length`` characters."""
    name = ' '.join(name.split())
    return name if len(name) <= length else name[: length - 1].rstrip(' ,') + '…'


def draw_overlay(
    image: np.ndarray, labels: np.ndarray, palette: np.ndarray, alpha: float
) -> np.ndarray:
    """Colour the labelled pixels of a picture and darken the borders of segments.

    Args:
        image: uint8 RGB (H, W, 3).
        labels: integers (H, W); values outside the palette are left undrawn.
        palette: uint8 (N, 3).
        alpha: share of the class colour.

    Returns:
        uint8 (H, W, 3).
    """
    drawn = (labels >= 0) & (labels < len(palette))
    colours = palette[np.where(drawn, labels, 0)].astype(np.float32)
    mixed = image * (1 - alpha) + colours * alpha
    out = np.where(drawn[..., None], mixed, image)
    border = np.zeros_like(drawn)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    out[border] *= 0.45
    return out.round().astype(np.uint8)


def write_names(
    picture: Image.Image, labels: np.ndarray, classes: Sequence[str], size: int
) -> None:
    """Write each class name into its largest region, where there is room.

    Large classes come first; a name that does not fit its region, or would cover
    another name, is left to the legend.

    Args:
        picture: the overlay, drawn on in place.
        labels: integers (H, W) at the picture's size.
        classes: class names.
        size: font size in pixels.
    """
    draw = ImageDraw.Draw(picture)
    values, counts = np.unique(labels, return_counts=True)
    taken: list[tuple[float, float, float, float]] = []
    for label in values[np.argsort(-counts)]:
        if not 0 <= label < len(classes):
            continue
        text, font = fit_font(shorten(classes[label], LONGEST_NAME), size)
        left, top, right, bottom = draw.textbbox((0, 0), text, font, stroke_width=2)
        width, height = right - left, bottom - top
        x, y, area, depth = _inner_point(labels == label)
        if area < 1.5 * width * height or depth < 0.6 * height:
            continue
        # Keep the whole name on the picture.
        x = min(max(x, width / 2), picture.width - width / 2)
        y = min(max(y, height / 2), picture.height - height / 2)
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if box[0] < 0 or box[1] < 0 or any(_overlap(box, other) for other in taken):
            continue
        taken.append(box)
        draw.text(
            (box[0] - left, box[1] - top),
            text,
            font=font,
            fill='white',
            stroke_width=2,
            stroke_fill='black',
        )


def _inner_point(mask: np.ndarray) -> tuple[int, int, int, float]:
    """Deepest point (x, y) of the largest region, its area and depth in pixels."""
    padded = np.pad(mask.astype(np.uint8), 1)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(padded, connectivity=4)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    inside = (regions == largest).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    area = int(stats[largest, cv2.CC_STAT_AREA])
    return int(x) - 1, int(y) - 1, area, float(depth[y, x])


def _overlap(a: tuple, b: tuple) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
