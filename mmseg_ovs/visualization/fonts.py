"""Fonts for class names of any script."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from mmengine.logging import print_log
from PIL import ImageFont

# Comes with matplotlib: Latin, Greek, Cyrillic, Hebrew, Arabic, symbols.
DEFAULT_FONT = str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf'))


def fit_font(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """Text to draw and a font that has all its characters.

    This is the default font if it has them, otherwise the first installed font that
    does. Characters that no font has are written as ``\\uXXXX`` (with one
    warning for each name) rather than as empty boxes, which would all look the same.

    Args:
        text: one line.
        size: height of the font in pixels.

    Returns:
        the text, with what cannot be drawn spelt out, and the font.
    """
    text, path = _fit(text)
    return text, _load(path, size)


@lru_cache(maxsize=4096)
def _fit(text: str) -> tuple[str, str]:
    wanted = frozenset(map(ord, text))
    path = _find_font(wanted)
    if path is not None:
        return text, path
    known = _characters(DEFAULT_FONT)
    spelt = ''.join(
        c if ord(c) in known else c.encode('ascii', 'backslashreplace').decode()
        for c in text
    )
    print_log(
        f'no installed font has all characters of {text!r}: drawn as {spelt!r}; '
        'install one for this script (fonts-noto-cjk, for example)',
        logger='current',
        level=logging.WARNING,
    )
    return spelt, DEFAULT_FONT


@lru_cache(maxsize=1024)
def _find_font(wanted: frozenset[int]) -> str | None:
    """First font with all the wanted code points."""
    if wanted <= _characters(DEFAULT_FONT):
        return DEFAULT_FONT
    for path in _system_fonts():
        if wanted <= _characters(path):
            return path
    return None


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[str, ...]:
    return tuple(sorted(findSystemFonts()))


@lru_cache(maxsize=512)
def _characters(path: str) -> frozenset[int]:
    """Code points of a font; empty if it cannot be drawn at any size."""
    try:
        _load(path, 16)  # bitmap fonts come in fixed sizes only
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@lru_cache(maxsize=64)
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
