"""The one way to bring images to the size that a network wants."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize_images(
    image: Tensor, size: tuple[int, int] | None, antialias: bool = True
) -> Tensor:
    """Resize images (B, 3, H, W) bilinearly, whatever their aspect.

    Args:
        image: The images.
        size: Height and width wanted. None: as they are.
        antialias: Whether to antialias.
    """
    if size is None or tuple(image.shape[-2:]) == tuple(size):
        return image
    return F.interpolate(image, tuple(size), mode='bilinear', antialias=antialias)
