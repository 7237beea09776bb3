"""The sheet on which panels and legend are laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .fonts import fit_font
from .overlay import draw_overlay, shorten, write_names

ALPHA = 0.6  # share of the class colour in overlays
# Longer side of a panel: small images are enlarged so that names can be read,
# large ones reduced so that a folder of sheets stays handy.
SMALLEST_PANEL, LARGEST_PANEL = 400, 1280
LONGEST_NAME = 40
INK, PALE_INK, PAPER = (25, 25, 25), (110, 110, 110), (255, 255, 255)


class LegendEntry(NamedTuple):
    """One class: colour (None: pixels left undrawn), name, shares as text."""

    colour: tuple[int, int, int] | None
    name: str
    shares: str


def draw_sheet(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    classes: Sequence[str],
    palette: np.ndarray,
    alpha: float = ALPHA,
    with_labels: bool = True,
    clear: int | None = None,
    per_row: int | None = None,
) -> np.ndarray:
    """An image and its label maps side by side, over a legend of the classes present.

    Args:
        image: uint8 RGB (H, W, 3).
        maps: integers (H, W) by title; values that are no class are left undrawn.
        classes: class names.
        palette: uint8 (N, 3).
        alpha: share of the class colour in the overlays.
        with_labels: write class names into the overlays as well.
        clear: label that is left undrawn, such as a background.
        per_row: panels in a row; None: all.

    Returns:
        uint8 RGB (h, w, 3).

    Raises:
        ValueError: the image is not uint8 RGB, or a map has another size.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f'image must be uint8 RGB (H, W, 3), got {image.dtype} {image.shape}'
        )
    longer = max(image.shape[:2])
    scale = min(max(longer, SMALLEST_PANEL), LARGEST_PANEL) / longer
    shape = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    size = max(14, round(max(shape) / 40))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = cv2.resize(image, shape, interpolation=interpolation)
    panels = [('image', Image.fromarray(canvas))]
    for title, labels in maps.items():
        if labels.shape != image.shape[:2]:
            raise ValueError(
                f'the {title} is {labels.shape}, the image {image.shape[:2]}; load '
                'labels after Resize, so that they keep the size of the image'
            )
        labels = labels.astype(np.int32)
        labels = cv2.resize(labels, shape, interpolation=cv2.INTER_NEAREST)
        panel = Image.fromarray(draw_overlay(canvas, labels, palette, alpha, clear))
        if with_labels:
            write_names(panel, labels, classes, size, clear)
        panels.append((title, panel))
    title = f'share of pixels: {" | ".join(maps)}'
    entries = _legend(maps, classes, palette, clear)
    return compose_sheet(panels, entries, title, size, per_row)


def _legend(
    maps: Mapping[str, np.ndarray],
    classes: Sequence[str],
    palette: np.ndarray,
    clear: int | None,
) -> list[LegendEntry]:
    """Classes present in any map, the largest first; undrawn pixels last."""
    counts = []
    for labels in maps.values():
        known = np.where((labels >= 0) & (labels < len(classes)), labels, len(classes))
        counts.append(np.bincount(known.ravel(), minlength=len(classes) + 1))
    if not counts:
        return []
    shares = np.array([count / count.sum() for count in counts])
    order = sorted(range(len(classes)), key=lambda i: -shares[:, i].max())
    entries = []
    for i in (*order, len(classes)):
        if shares[:, i].any():
            is_class = i < len(classes)
            is_drawn = is_class and i != clear
            entries.append(
                LegendEntry(
                    colour=tuple(palette[i].tolist()) if is_drawn else None,
                    name=classes[i] if is_class else 'not labelled',
                    shares=' | '.join(f'{100 * share:.1f}%' for share in shares[:, i]),
                )
            )
    return entries


def compose_sheet(
    panels: Sequence[tuple[str, Image.Image]],
    entries: Sequence[LegendEntry],
    legend_title: str,
    size: int,
    per_row: int | None = None,
) -> np.ndarray:
    """Panels side by side, each under its title, over a legend in columns.

    Args:
        panels: (title, image); images of one size.
        entries: legend, in reading order down the columns.
        legend_title: says what the shares are.
        size: font size in pixels.
        per_row: panels in a row; None: all.

    Returns:
        uint8 RGB (H, W, 3).
    """
    margin, line = size // 2, round(1.6 * size)
    width, height = panels[0][1].size
    per_row = min(per_row or len(panels), len(panels))
    panels_height = -(-len(panels) // per_row) * (line + height)
    patch = size + margin  # colour patch and the space after it
    names = [shorten(entry.name, LONGEST_NAME) for entry in entries]
    name_width = max((_width(name, size) for name in names), default=0)
    share_width = max((_width(entry.shares, size) for entry in entries), default=0)
    entry_width = patch + name_width + margin + share_width + 2 * margin

    sheet_width = per_row * (width + margin) + margin
    if entries:
        sheet_width = max(
            sheet_width, entry_width + margin, _width(legend_title, size) + 2 * margin
        )
    columns = max(1, (sheet_width - margin) // entry_width)
    rows = -(-len(entries) // columns)
    legend_top = panels_height + margin
    legend_height = (rows + 1) * line + margin if entries else 0
    sheet = Image.new('RGB', (sheet_width, legend_top + legend_height), PAPER)
    draw = ImageDraw.Draw(sheet)

    for i, (title, image) in enumerate(panels):
        x = margin + i % per_row * (width + margin)
        y = i // per_row * (line + height)
        _write(draw, x, y + line // 2, _shorten_to(width, title, size), size, INK)
        sheet.paste(image, (x, y + line))
    if entries:
        _write(draw, margin, legend_top + line // 2, legend_title, size, PALE_INK)
    for i, (entry, name) in enumerate(zip(entries, names, strict=True)):
        column, row = divmod(i, rows)
        x = margin + column * entry_width
        middle = legend_top + (row + 1) * line + line // 2
        box = (x, middle - size // 2, x + size, middle + size // 2)
        draw.rectangle(box, fill=entry.colour or PAPER, outline=PALE_INK)
        if entry.colour is None:
            draw.line((box[0], box[3], box[2], box[1]), fill=PALE_INK)
        _write(draw, x + patch, middle, name, size, INK)
        right = x + patch + name_width + margin + share_width
        left = right - _width(entry.shares, size)
        _write(draw, left, middle, entry.shares, size, PALE_INK)
    return np.array(sheet)


def _shorten_to(width: int, text: str, size: int) -> str:
    """``text``, cut with an ellipsis until it is at most ``width`` pixels wide."""
    length = len(text)
    while length > 1 and _width(text, size) > width:
        length -= 1
        text = shorten(text, length)
    return text


def _width(text: str, size: int) -> int:
    text, font = fit_font(text, size)
    return round(font.getlength(text))


def _write(
    draw: ImageDraw.ImageDraw, x: int, middle: int, text: str, size: int, ink: tuple
) -> None:
    text, font = fit_font(text, size)
    draw.text((x, middle), text, font=font, fill=ink, anchor='lm')
