"""Windows of the spatial blocks: which token goes where, and who sees whom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Swin's masks subtract 100 across the seam of a shifted map, where -inf would do.
_SEAM = -100.0


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
        axes = [_Axis(length, window, shift, device) for length in size]
        rows, columns = axes
        # Fillers hold the first token: finite, never seen and never read back.
        outside = rows.outside[:, None] | columns.outside
        slots = (rows.position[:, None] * size[1] + columns.position).where(~outside, 0)
        regions = 3 * rows.region[:, None] + columns.region
        slots, regions, outside = (
            _partition(grid, window) for grid in (slots, regions, outside)
        )
        masks = torch.zeros(*slots.shape, window * window, device=device)
        masks.masked_fill_(regions[:, :, None] != regions[:, None], _SEAM)
        masks.masked_fill_(outside[:, :, None] != outside[:, None], -torch.inf)
        needed = [row or column for row in rows.mixed for column in columns.mixed]
        masks = [
            mask if needs else None for mask, needs in zip(masks, needed, strict=True)
        ]
        row, column = rows.place[:, None], columns.place
        number = row // window * len(columns.mixed) + column // window
        places = (number * window + row % window) * window + column % window
        return cls(slots, places.flatten(), masks)

    def partition(self, x: Tensor) -> Tensor:
        """Grid tokens (T, h * w, C) to windows (T, W, N, C)."""
        return x.index_select(1, self.slots.flatten()).unflatten(1, self.slots.shape)

    def unpartition(self, x: Tensor) -> Tensor:
        """Windows (T, W, N, C) to grid tokens (T, h * w, C)."""
        return x.flatten(1, 2).index_select(1, self.places)


class _Axis:
    """One axis of the shifted, padded grid; no value of it is read back.

    Attributes:
        position: Position on the grid of each place.
        outside: Which places are fillers.
        region: Which side of the seams each place lies on.
        place: Place of each position.
        mixed: Whether a window sees a seam or fillers.
    """

    def __init__(
        self, length: int, window: int, shift: int, device: torch.device | str
    ) -> None:
        count = -(-length // window)
        padded = count * window
        place = torch.arange(padded, device=device)
        self.position = (place + shift) % padded
        self.outside = self.position >= length
        self.region = torch.zeros_like(place)
        if shift:
            self.region += place >= padded - window
            self.region += place >= padded - shift
        self.place = (place[:length] - shift) % padded
        first_filler = (length - shift) % padded
        last_filler = (padded - 1 - shift) % padded
        self.mixed = [bool(shift) and i == count - 1 for i in range(count)]
        for filler in (first_filler, last_filler) if padded > length else ():
            self.mixed[filler // window] = True


def _partition(grid: Tensor, window: int) -> Tensor:
    """(H, W) to windows (count, window * window)."""
    grid = grid.unflatten(1, (-1, window)).unflatten(0, (-1, window))
    return grid.transpose(1, 2).flatten(2).flatten(0, 1)
