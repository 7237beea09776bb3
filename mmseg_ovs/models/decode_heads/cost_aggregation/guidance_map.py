"""A feature map as guidance, at the stride at which it is needed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class GuidanceMap(nn.Module):
    """Picks one of the feature maps; a coarser one is upsampled by a learned factor.

    Args:
        needed_stride: Stride at which the map guides.
        index: Which feature map.
        channels: Its channels.
        stride: Its stride, a multiple of the needed one. None: as needed.
        upsampled_channels: Channels after upsampling. None: as before.

    Raises:
        ValueError: No transposed convolution leads from one stride to the other.
    """

    def __init__(
        self,
        needed_stride: float,
        index: int,
        channels: int,
        stride: float | None = None,
        upsampled_channels: int | None = None,
    ) -> None:
        super().__init__()
        factor, rest = divmod(stride or needed_stride, needed_stride)
        if rest or factor < 1:
            raise ValueError(
                f'Guidance by map {index} is needed at stride {needed_stride:g}; its '
                f'stride {stride:g} is no multiple of it. Resize the map in a neck, or '
                'take one that is as fine or coarser by a whole factor'
            )
        factor = int(factor)
        if factor == 1 and upsampled_channels is not None:
            raise ValueError(
                f'Guidance by map {index} is at the stride {needed_stride:g} at which '
                'it is needed: leave upsampled_channels out, or correct stride'
            )
        self.index = index
        self.out_channels = upsampled_channels or channels
        self.up = None
        if factor > 1:
            self.up = nn.ConvTranspose2d(
                channels, self.out_channels, factor, stride=factor
            )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Feature maps (B, ., ., .) to guidance (B, out_channels, h, w).

        Raises:
            ValueError: There is no such map.
        """
        if not -len(maps) <= self.index < len(maps):
            raise ValueError(
                f'Guidance by map {self.index}, but there are {len(maps)} map(s): give '
                'the backbone more out_indices or the necks a SemanticPriorEncoder, or '
                'correct index'
            )
        guidance = maps[self.index]
        return guidance if self.up is None else self.up(guidance)
