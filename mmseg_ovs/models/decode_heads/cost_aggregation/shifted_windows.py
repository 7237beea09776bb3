"""Windows of the spatial blocks: which token goes where, and who sees whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
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
        # In numpy: while torch.export traces, tensors have no values to decide by.
        rows, row_regions = _axis(size[0], window, shift)
        columns, column_regions = _axis(size[1], window, shift)
        outside = (rows == _PADDING)[:, None] | (columns == _PADDING)
        # Fillers hold the first token: finite, never seen and never read back.
        slots = np.where(outside, 0, rows[:, None] * size[1] + columns)
        regions = 3 * row_regions[:, None] + column_regions
        slots, regions, outside = (
            _partition(grid, window) for grid in (slots, regions, outside)
        )
        places = np.empty(size[0] * size[1], np.int64)
        inside = ~outside.ravel()
        places[slots.ravel()[inside]] = inside.nonzero()[0]
        masks = [
            torch.tensor(_mask(region, filler), device=device)
            if filler.any() or (region != region[0]).any()
            else None
            for region, filler in zip(regions, outside, strict=True)
        ]
        slots, places = (torch.tensor(x, device=device) for x in (slots, places))
        return cls(slots, places, masks)

    def partition(self, x: Tensor) -> Tensor:
        """Grid tokens (T, h * w, C) to windows (T, W, N, C)."""
        return x.index_select(1, self.slots.flatten()).unflatten(1, self.slots.shape)

    def unpartition(self, x: Tensor) -> Tensor:
        """Windows (T, W, N, C) to grid tokens (T, h * w, C)."""
        return x.flatten(1, 2).index_select(1, self.places)


def _axis(length: int, window: int, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Position and region of each place along one axis of the shifted, padded grid."""
    padded = -(-length // window) * window
    place = np.arange(padded)
    position = (place + shift) % padded
    region = np.zeros_like(place)
    if shift:
        region += (place >= padded - window).astype(int) + (place >= padded - shift)
    return np.where(position >= length, _PADDING, position), region


def _partition(grid: np.ndarray, window: int) -> np.ndarray:
    """(H, W) to windows (count, window * window)."""
    grid = grid.reshape(len(grid) // window, window, -1, window)
    return grid.swapaxes(1, 2).reshape(-1, window * window)


def _mask(region: np.ndarray, filler: np.ndarray) -> np.ndarray:
    """What is added to the logits of one window (N, N)."""
    mask = np.zeros((len(region), len(region)), np.float32)
    mask[region[:, None] != region] = _SEAM
    mask[filler[:, None] != filler] = -np.inf
    return mask
