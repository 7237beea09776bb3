"""Colours of classes, from their names."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Mapping, Sequence

BLACK = (0, 0, 0)


def make_palette(
    names: Sequence[str], own: Mapping[str, Sequence[int]] | None = None
) -> list[list[int]]:
    """Colours of classes; each depends on the name of its class alone.

    So a class looks the same in every image, list of classes and model. Two names
    may get colours that are hard to tell apart: give one of them its own.

    Args:
        names: Of N classes. ``background`` is black.
        own: Colours ``(R, G, B)`` of 0..255 by name, which come first, such as those of
            a data set.

    Returns:
        ``[R, G, B]`` of 0..255 for each name.
    """
    own = own or {}
    return [list(own[name] if name in own else _colour(name)) for name in names]


def _colour(name: str) -> tuple[int, ...]:
    """A bright colour made from the digest of a name."""
    if name == 'background':
        return BLACK
    digest = hashlib.sha256(name.encode()).digest()
    hue, saturation, value = (
        int.from_bytes(digest[i : i + 4], 'big') / 2**32 for i in (0, 4, 8)
    )
    rgb = colorsys.hsv_to_rgb(hue, 0.5 + saturation / 2, 0.55 + 0.45 * value)
    return tuple(round(255 * channel) for channel in rgb)
