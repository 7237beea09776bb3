"""The one way to bring images to the size and normalisation that a network wants."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# RGB, 0..255
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class Renormalise(nn.Module):
    """Images (B, 3, H, W) normalised in one way, as another way would have them.

    Args:
        mean, std: How they come.
        wanted_mean, wanted_std: How they are wanted; ImageNet's by default.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        wanted_mean: Sequence[float] = IMAGENET_MEAN,
        wanted_std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        mean, std, wanted_mean, wanted_std = (
            torch.tensor(values).view(3, 1, 1)
            for values in (mean, std, wanted_mean, wanted_std)
        )
        shift = (mean - wanted_mean) / wanted_std
        self.register_buffer('scale', std / wanted_std, persistent=False)
        self.register_buffer('shift', shift, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """The images, renormalised."""
        return images * self.scale + self.shift


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
