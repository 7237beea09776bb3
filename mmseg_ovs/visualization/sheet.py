"""The sheet on which panels and legend are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from .fonts import fit_font
from .overlay import shorten

LONGEST_NAME = 40
INK, PALE_INK, PAPER = (25, 25, 25), (110, 110, 110), (255, 255, 255)


class LegendEntry(NamedTuple):
    """One class: colour (None: pixels left undrawn), name, shares as text."""

    colour: tuple[int, int, int] | None
    name: str
    shares: str


def compose_sheet(
    panels: Sequence[tuple[str, Image.Image]],
    entries: Sequence[LegendEntry],
    legend_title: str,
    size: int,
) -> np.ndarray:
    """Panels side by side, each under its title, over a legend in columns.

    Args:
        panels: (title, image); images of one size.
        entries: legend, in reading order down the columns.
        legend_title: says what the shares are.
        size: font size in pixels.

    Returns:
        uint8 RGB (H, W, 3).
    """
    margin, line = size // 2, round(1.6 * size)
    width, height = panels[0][1].size
    patch = size + margin  # colour patch and the space after it
    names = [shorten(entry.name, LONGEST_NAME) for entry in entries]
    name_width = max((_width(name, size) for name in names), default=0)
    share_width = max((_width(entry.shares, size) for entry in entries), default=0)
    entry_width = patch + name_width + margin + share_width + 2 * margin

    sheet_width = len(panels) * (width + margin) + margin
    if entries:
        sheet_width = max(
            sheet_width, entry_width + margin, _width(legend_title, size) + 2 * margin
        )
    columns = max(1, (sheet_width - margin) // entry_width)
    rows = -(-len(entries) // columns)
    legend_top = line + height + margin
    legend_height = (rows + 1) * line + margin if entries else 0
    sheet = Image.new('RGB', (sheet_width, legend_top + legend_height), PAPER)
    draw = ImageDraw.Draw(sheet)

    for i, (title, image) in enumerate(panels):
        x = margin + i * (width + margin)
        _write(draw, x, line // 2, title, size, INK)
        sheet.paste(image, (x, line))
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


def _width(text: str, size: int) -> int:
    text, font = fit_font(text, size)
    return round(font.getlength(text))


def _write(
    draw: ImageDraw.ImageDraw, x: int, middle: int, text: str, size: int, ink: tuple
) -> None:
    text, font = fit_font(text, size)
    draw.text((x, middle), text, font=font, fill=ink, anchor='lm')
