"""Windows of the spatial blocks: which token goes where, and who sees whom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Swin's masks subtract 100 across the seam of a shifted map, where -inf would do.
_SEAM = -100.0
_PADDING = -1


@dataclass
class ShiftedWindows:
    """Square windows over a grid, possibly shifted cyclically.

    Sides that the window does not divide are filled up at the right and bottom with
    tokens that no token of the grid sees.

    Attributes:
        slots: Position in the row-major grid of every place of every window (W, N).
        places: Place in the flattened windows of every position (h * w,).
        masks: What each window adds to its attention logits (N, N); None: nothing.
    """

    slots: Tensor
    places: Tensor
    masks: list[Tensor | None]

    @classmethod
    def build(
        cls,
        size: tuple[int, int],
        window: int,
        shift: int,
        device: torch.device | str = 'cpu',
    ) -> ShiftedWindows:
        """Lay windows over a grid.

        Args:
            size: Height and width of the grid.
            window: Side of a window. One that is not smaller than the shorter side
                becomes that side and is not shifted.
            shift: How far the windows are moved to the right and down.
            device: Where the indices lie.
        """
        if min(size) <= window:
            window, shift = min(size), 0
        rows, row_regions = _axis(size[0], window, shift)
        columns, column_regions = _axis(size[1], window, shift)
        outside = (rows == _PADDING)[:, None] | (columns == _PADDING)
        # Fillers hold the first token: finite, never seen and never read back.
        slots = (rows[:, None] * size[1] + columns).masked_fill(outside, 0)
        regions = 3 * row_regions[:, None] + column_regions
        slots, regions, outside = (
            _partition(grid, window) for grid in (slots, regions, outside)
        )
        places = torch.empty(size[0] * size[1], dtype=torch.long)
        inside = ~outside.flatten()
        places[slots.flatten()[inside]] = inside.nonzero().squeeze(1)
        masks = [
            _mask(region, filler).to(device)
            if filler.any() or (region != region[0]).any()
            else None
            for region, filler in zip(regions, outside, strict=True)
        ]
        return cls(slots.to(device), places.to(device), masks)

    def partition(self, x: Tensor) -> Tensor:
        """Grid tokens (T, h * w, C) to windows (T, W, N, C)."""
        return x.index_select(1, self.slots.flatten()).unflatten(1, self.slots.shape)

    def unpartition(self, x: Tensor) -> Tensor:
        """Windows (T, W, N, C) to grid tokens (T, h * w, C)."""
        return x.flatten(1, 2).index_select(1, self.places)


def _axis(length: int, window: int, shift: int) -> tuple[Tensor, Tensor]:
    """Position and region of each place along one axis of the shifted, padded grid."""
    padded = -(-length // window) * window
    place = torch.arange(padded)
    position = (place + shift) % padded
    region = torch.zeros_like(place)
    if shift:
        region = (place >= padded - window).long() + (place >= padded - shift)
    return position.masked_fill(position >= length, _PADDING), region


def _partition(grid: Tensor, window: int) -> Tensor:
    """(H, W) to windows (count, window * window)."""
    grid = grid.unflatten(0, (-1, window)).unflatten(2, (-1, window))
    return grid.transpose(1, 2).flatten(0, 1).flatten(1)


def _mask(region: Tensor, filler: Tensor) -> Tensor:
    """What is added to the logits of one window (N, N)."""
    mask = torch.zeros(len(region), len(region))
    mask[region[:, None] != region] = _SEAM
    mask[filler[:, None] != filler] = float('-inf')
    return mask
