"""Decoder stage: twice the resolution, with guidance fused by convolution.

Between the transposed convolution and the first 3x3 convolution there is no
nonlinearity: together they are one transposed convolution, plus a map that depends on
the guidance alone and is computed once an image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PreparedUpsampling(NamedTuple):
    """What one stage needs of an image in addition to the cost of a class.

    Attributes:
        weight: Transposed convolution (in, out, 4, 4) and first convolution in one.
        guidance: Share of guidance and bias in its result (1, out, 2h, 2w).
    """

    weight: Tensor
    guidance: Tensor


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with GroupNorm of 16 channels a group and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        groups, rest = divmod(out_channels, 16)
        if rest or not groups:
            raise ValueError(
                f'Channels of a decoder stage have to be a multiple of 16 (the size of '
                f'its GroupNorm groups), got {out_channels}'
            )
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(groups, out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(groups, out_channels),
            nn.ReLU(inplace=True),
        )


class GuidedUpsampling(nn.Module):
    """Transposed convolution, guidance, two convolutions.

    Args:
        in_channels: Channels of the cost.
        out_channels: Channels that come out, a multiple of 16.
        guidance_channels: Channels of the guidance, fewer than ``in_channels``; 0:
            none.
    """

    def __init__(
        self, in_channels: int, out_channels: int, guidance_channels: int = 0
    ) -> None:
        super().__init__()
        if guidance_channels >= in_channels:
            raise ValueError(
                f'Guidance of {guidance_channels} channels leaves none of the '
                f'{in_channels} of the decoder stage to the cost'
            )
        own = in_channels - guidance_channels
        self.up = nn.ConvTranspose2d(in_channels, own, 2, stride=2)
        self.conv = DoubleConv(in_channels, out_channels)

    def prepare(
        self, guidance: Tensor | None, size: tuple[int, int]
    ) -> PreparedUpsampling:
        """The work of an image that no class changes.

        Args:
            guidance: Guidance map (1, G, 2h, 2w), or None.
            size: Height and width 2h, 2w of the result.
        """
        first = self.conv.double_conv[0].weight
        own = self.up.out_channels
        constant = self.up.bias.view(1, own, 1, 1).expand(1, own, *size)
        if guidance is not None:
            constant = torch.cat([constant, guidance], dim=1)
        return PreparedUpsampling(
            weight=F.conv2d(self.up.weight, first[:, :own], padding=2),
            guidance=F.conv2d(constant, first, padding=1),
        )

    def forward(self, x: Tensor, prepared: PreparedUpsampling) -> Tensor:
        """(t, in_channels, h, w) to (t, out_channels, 2h, 2w)."""
        x = F.conv_transpose2d(x, prepared.weight, stride=2, padding=1)
        x = x.add_(prepared.guidance)
        return self.conv.double_conv[1:](x)
