"""Encoders of 1x1 residual blocks that work at pixel resolution in little memory.

Follows Wimmer et al., "AnyUp: Universal Feature Upsampling" (arXiv 2510.12764;
wimmerth/anyup), whose encoders these are. Two forms of the same mathematics:

- called as modules on (B, C, H, W) they are plain and differentiable;
- ``run_`` and ``run_pooled`` take one image as (H, W, C), overwrite it, and go
  through it in bands of rows. A block needs two buffers at pixel resolution, and
  everything else is as small as a band. A group norm becomes a scale and a shift for
  each channel, found in one pass over the bands.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NORM_GROUPS = 8
_MIN_ROWS = 16


def row_bands(height: int, width: int, pixels: int) -> list[slice]:
    """Bands of about ``pixels`` pixels, of whole rows and at least 16 of them."""
    step = max(_MIN_ROWS, pixels // width)
    return [slice(top, min(top + step, height)) for top in range(0, height, step)]


def _pointwise(x: Tensor, conv: nn.Conv2d, onednn: bool) -> Tensor:
    """A 1x1 convolution of a band (rows, W, C), or the same as a matrix product.

    Each row is an entry of the batch: on one CPU thread PyTorch hands convolutions to
    oneDNN from a batch of 16 on, which is faster than matrix products on some CPUs.
    """
    if not onednn:
        return F.linear(x, conv.weight[..., 0, 0])
    return F.conv2d(x[:, None].permute(0, 3, 1, 2), conv.weight)[:, :, 0].mT


def _group_norm_affine(
    x: Tensor, norm: nn.GroupNorm, bands: Sequence[slice]
) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) which normalise an image (H, W, C) as ``norm`` does."""
    # Double precision puts the bands together; sums of squares alone would lose the
    # variance where the mean is large. (Filled in place: small tensors that are kept
    # between large ones would leave holes in the heap.)
    means, variances = x.new_empty(2, len(bands), x.shape[-1], dtype=torch.float64)
    for i, rows in enumerate(bands):
        pixels = x[rows].flatten(0, 1)
        mean = pixels.mean(0)
        means[i] = mean
        variances[i] = (pixels - mean).square_().mean(0)
    first, last = ((rows.stop - rows.start) / len(x) for rows in (bands[0], bands[-1]))
    share = means.new_full((len(bands), 1), first)
    share[-1] = last  # the others are equal
    mean = (share * means).sum(0)
    variance = (share * (variances + (means - mean).square())).sum(0)
    mean, variance = (v.view(norm.num_groups, -1) for v in (mean, variance))
    group_mean = mean.mean(1, keepdim=True)
    variance = variance + (mean - group_mean).square()
    deviation = (variance.mean(1, keepdim=True) + norm.eps).sqrt()
    scale = norm.weight.double().view_as(mean) / deviation
    shift = norm.bias.double().view_as(mean) - group_mean * scale
    return scale.flatten().to(x.dtype), shift.flatten().to(x.dtype)


def _activate(pixels: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
    scale, shift = affine
    return F.silu(torch.addcmul(shift, pixels, scale), inplace=True)


def pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Area-pool an image (H, W, C) to (h, w, C)."""
    pooled = F.adaptive_avg_pool2d(x[None].permute(0, 3, 1, 2), size)
    return pooled[0].permute(1, 2, 0)


class PixelResidualBlock(nn.Module):
    """Twice group norm, SiLU and a 1x1 convolution, around a shortcut.

    Args:
        in_channels: Channels of the input, a multiple of 8.
        out_channels: Channels of the output, a multiple of 8. If it is another number,
            the shortcut is a 1x1 convolution.

    Attributes:
        onednn: Whether bands are multiplied as convolutions.
    """

    onednn = True

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.GroupNorm(_NORM_GROUPS, in_channels),
            nn.SiLU(),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.GroupNorm(_NORM_GROUPS, out_channels),
            nn.SiLU(),
            nn.Conv2d(out_channels, out_channels, 1, bias=False),
        )
        self.shortcut = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, H, W)."""
        return self.block(x) + self.shortcut(x)

    def _fill(self, hidden: Tensor, x: Tensor, bands: Sequence[slice]) -> None:
        """The first half of the block, from ``x`` into ``hidden``."""
        affine = _group_norm_affine(x, self.block[0], bands)
        for rows in bands:
            pixels = _activate(x[rows], affine)
            hidden[rows] = _pointwise(pixels, self.block[2], self.onednn)

    def run_(self, x: Tensor, hidden: Tensor, bands: Sequence[slice]) -> None:
        """Apply the block to an image (H, W, C) in place.

        Args:
            x: The image.
            hidden: Scratch of the same shape.
            bands: Of :func:`row_bands`.
        """
        self._fill(hidden, x, bands)
        affine = _group_norm_affine(hidden, self.block[3], bands)
        for rows in bands:
            pixels = _activate(hidden[rows], affine)
            x[rows] += _pointwise(pixels, self.block[5], self.onednn)

    def run_pooled(
        self,
        x: Tensor,
        hidden: Tensor,
        bands: Sequence[slice],
        size: tuple[int, int],
    ) -> Tensor:
        """The block, area-pooled to ``size``: (h, w, C). Overwrites ``hidden``.

        Pooling commutes with the last convolution and with the shortcut, so both come
        after it.
        """
        self._fill(hidden, x, bands)
        affine = _group_norm_affine(hidden, self.block[3], bands)
        for rows in bands:
            hidden[rows] = _activate(hidden[rows], affine)
        pooled = _pointwise(pool(hidden, size), self.block[5], self.onednn)
        return pool(x, size) + pooled


class PixelEncoder(nn.Sequential):
    """A first layer that makes ``channels`` channels, and two residual blocks.

    Args:
        first: The first layer.
        channels: Channels of the output.
        first_channels: Channels that ``first`` returns, where they are others.

    Attributes:
        onednn: As that of its blocks.
    """

    onednn = True

    def __init__(
        self, first: nn.Module, channels: int, first_channels: int | None = None
    ) -> None:
        super().__init__(
            first,
            PixelResidualBlock(first_channels or channels, channels),
            PixelResidualBlock(channels, channels),
        )

    def convolve(self, image: Tensor, out: Tensor, bands: Sequence[slice]) -> None:
        """The first layer, a convolution with reflected borders, in bands.

        Args:
            image: (1, c, H, W).
            out: Receives the result, (H, W, C).
            bands: Of :func:`row_bands`.
        """
        conv, margin = self[0], self[0].padding[0]
        padded = F.pad(image, [margin] * 4, mode='reflect')
        padded = padded.contiguous(memory_format=torch.channels_last)
        for rows in bands:
            part = padded[:, :, rows.start : rows.stop + 2 * margin]
            out[rows] = F.conv2d(part, conv.weight)[0].permute(1, 2, 0)

    def multiply(self, x: Tensor, out: Tensor, bands: Sequence[slice]) -> None:
        """The first layer, a 1x1 convolution, from (H, W, C) into ``out`` or ``x``."""
        for rows in bands:
            out[rows] = _pointwise(x[rows], self[0], self.onednn)

    def run_(self, x: Tensor, hidden: Tensor, bands: Sequence[slice]) -> None:
        """Apply the residual blocks to an image (H, W, C) in place."""
        _, *blocks = self
        for block in blocks:
            block.run_(x, hidden, bands)

    def run_pooled(
        self,
        x: Tensor,
        hidden: Tensor,
        bands: Sequence[slice],
        size: tuple[int, int],
    ) -> Tensor:
        """The residual blocks, area-pooled to (h, w, C). Overwrites both buffers."""
        _, first, last = self
        first.run_(x, hidden, bands)
        return last.run_pooled(x, hidden, bands, size)
