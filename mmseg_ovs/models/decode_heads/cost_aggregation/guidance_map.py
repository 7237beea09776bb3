"""A feature map as guidance, at the stride at which it is needed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class GuidanceMap(nn.Module):
    """Picks one of the feature maps.

    A coarser one is upsampled by a transposed convolution, a finer one averaged.

    Args:
        needed_stride: Stride at which the map guides.
        index: Which feature map.
        channels: Its channels.
        stride: Its stride, a multiple or fraction of the needed one. None: as needed.
        upsampled_channels: Channels after upsampling. None: as before.

    Raises:
        ValueError: No whole factor leads from one stride to the other.
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
        stride = stride or needed_stride
        finer = stride < needed_stride
        factor, rest = divmod(*sorted((stride, needed_stride), reverse=True))
        if rest:
            raise ValueError(
                f'Guidance by map {index} is needed at stride {needed_stride:g}; its '
                f'stride {stride:g} is no multiple or fraction of it. Resize the map '
                'in a neck, or take one that is finer or coarser by a whole factor'
            )
        factor = int(factor)
        if (finer or factor == 1) and upsampled_channels is not None:
            raise ValueError(
                f'Guidance by map {index} is needed at stride {needed_stride:g} and '
                'is not coarser: leave upsampled_channels out, or correct stride'
            )
        self.index = index
        self.out_channels = upsampled_channels or channels
        self.pooling = nn.AvgPool2d(factor) if finer else None
        self.up = None
        if factor > 1 and not finer:
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
        if self.pooling is not None:
            return self.pooling(guidance)
        return guidance if self.up is None else self.up(guidance)
