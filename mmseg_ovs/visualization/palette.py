"""Colours for any number of classes."""

from __future__ import annotations

import colorsys

GOLDEN_RATIO = 0.6180339887498949
# Saturation and brightness change with the index, so near hues still differ.
_SATURATIONS = (0.85, 0.55, 0.95, 0.7)
_VALUES = (0.95, 0.75, 0.55)


def make_palette(num_classes: int) -> list[list[int]]:
    """Distinct colours; colour ``i`` is the same for every ``num_classes``.

    Hues advance by the golden ratio, which keeps any run of classes well spread.

    Args:
        num_classes: number of colours.

    Returns:
        ``num_classes`` lists ``[R, G, B]`` of 0..255.
    """
    palette = []
    for i in range(num_classes):
        saturation = _SATURATIONS[i % len(_SATURATIONS)]
        value = _VALUES[i % len(_VALUES)]
        rgb = colorsys.hsv_to_rgb(i * GOLDEN_RATIO % 1, saturation, value)
        palette.append([round(255 * channel) for channel in rgb])
    return palette
