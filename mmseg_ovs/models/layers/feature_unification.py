"""Features of any width to a fixed number of channels.

Follows Wimmer et al., "AnyUp: Universal Feature Upsampling" (arXiv 2510.12764;
wimmerth/anyup, feature unification).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..utils import is_exporting

# Responses of channels to filters that exist at a time: 4 MiB stay in the cache.
_CHUNK_NUMBERS = 2**20


class FeatureUnification(nn.Module):
    """Every channel meets every filter; softmax over the filters, mean over channels.

    Args:
        out_channels: Number of filters.
        kernel_size: Side of the filters, odd.

    Note:
        The published code computes responses in the order (channel, filter) and reads
        them as (filter, channel). For C channels and O filters its softmax runs over
        the responses o * C + c of that flat order, o = 0 .. O - 1. The published
        weights are trained with it, so it is kept.
    """

    def __init__(self, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.basis = nn.Parameter(
            torch.randn(out_channels, 1, kernel_size, kernel_size)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Maps (B, C, h, w) to (B, out_channels, h, w)."""
        return torch.stack([self._unify(feature) for feature in features])

    def _unify(self, feature: Tensor) -> Tensor:
        channels, height, width = feature.shape
        side = self.kernel_size
        margin = [side // 2] * 4
        # responses at the border count only the part of the filter inside the map
        ones = feature.new_ones(1, 1, height, width)
        share = F.conv2d(F.pad(ones, margin), ones.new_ones(1, 1, side, side))[0, 0]
        patches = F.pad(feature, margin).unfold(1, side, 1).unfold(2, side, 1)
        basis = self.basis.flatten(1).t()
        count = max(1, _CHUNK_NUMBERS // (channels * self.out_channels))
        if is_exporting():
            count = width  # a chunk is a dozen nodes of the graph: one a row will do

        def unify(row: int, cells: slice) -> Tensor:
            part = patches[:, row, cells].transpose(0, 1).flatten(2)
            part = (part / share[row, cells, None, None]) @ basis
            part = part.flatten(1).unflatten(1, (self.out_channels, channels))
            return part.softmax(dim=1).mean(dim=2)

        runs = [
            (row, slice(start, start + count))
            for row in range(height)
            for start in range(0, width, count)
        ]
        if is_exporting():
            unified = torch.cat([unify(*run) for run in runs])
            return unified.unflatten(0, (height, width)).permute(2, 0, 1)
        # filled in place: small results kept between chunks would split the heap
        unified = feature.new_empty(height, width, self.out_channels)
        for run in runs:
            unified[run] = unify(*run)
        return unified.permute(2, 0, 1)
