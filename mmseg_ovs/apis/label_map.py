"""Label maps as images."""

from __future__ import annotations

import numpy as np
from PIL import Image

# As in mmseg, 255 stays free for "ignore".
MOST_IN_8_BITS = 255


def label_map_image(labels: np.ndarray, palette: np.ndarray) -> Image.Image:
    """A label map in the colours of its classes, whose values are the labels.

    ``np.array`` of it gives the labels back; OpenCV would give colours.

    Args:
        labels: (H, W) of 0 to N - 1.
        palette: uint8 RGB (N, 3).

    Returns:
        Of 8 bits with a palette, or grey of 16 bits with more than 255 classes.
    """
    if len(palette) > MOST_IN_8_BITS:
        return Image.fromarray(labels.astype(np.uint16))
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette(palette.tobytes())
    return image
