"""What the eight colours look like on things and, paler, on grounds."""

from __future__ import annotations

import numpy as np

from .names import COLOURS, SHAPES, TEXTURES

#: 8-bit RGB of a thing of each colour.
RGB = dict(
    red=(212, 32, 36),
    orange=(246, 130, 10),
    yellow=(246, 222, 24),
    green=(36, 152, 52),
    cyan=(20, 196, 206),
    blue=(36, 66, 214),
    purple=(122, 38, 172),
    pink=(248, 104, 182),
)
assert tuple(RGB) == COLOURS


def tint(rgb: np.ndarray | tuple[float, ...], amount: float) -> np.ndarray:
    """Mix a colour with white (``amount > 0``) or with black (``amount < 0``).

    Args:
        rgb: (3,) colour, 0 to 255.
        amount: Share of white, or of black if negative; -1 to 1.

    Returns:
        (3,) float64 colour.
    """
    rgb = np.asarray(rgb, dtype=np.float64)
    target = 255.0 if amount > 0 else 0.0
    return rgb + abs(amount) * (target - rgb)


def make_palette() -> list[list[int]]:
    """One distinct RGB colour a class, which looks like the class.

    Things keep their colour with one shade a shape, grounds are paler with one shade a
    texture.
    """
    thing_shades = np.linspace(-0.2, 0.2, len(SHAPES))
    stuff_shades = np.linspace(0.38, 0.70, len(TEXTURES))
    colours = [tint(RGB[c], shade) for c in COLOURS for shade in thing_shades]
    colours += [tint(RGB[c], shade) for shade in stuff_shades for c in COLOURS]
    return [[round(channel) for channel in rgb] for rgb in colours]
