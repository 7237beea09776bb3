"""Cross attention of a fine grid to the nearest cells of a coarse one.

Follows Wimmer et al., "AnyUp: Universal Feature Upsampling" (arXiv 2510.12764;
wimmerth/anyup). There a mask hides most of a dense (pixels, cells) matrix. Here the
fine grid is cut into tiles, each tile attends to the few cells that any of its pixels
sees, and the mask decides inside the tile: the same weights with a fraction of the
work, and no tensor of the size of the whole matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear

# Sides of a tile: large enough for the products, small enough that the cells which its
# pixels see together are hardly more than one pixel sees.
_TILE_SIDE = 16


def window_bounds(
    queries: int, keys: int, ratio: float
) -> tuple[np.ndarray, np.ndarray]:
    """First key and the one after the last that each query sees, along one axis.

    Args:
        queries: Length of the fine axis.
        keys: Length of the coarse axis.
        ratio: Half a window as a share of the axis; 0 shows all keys to all queries.

    Returns:
        start, stop: Indices (queries,). In numpy, as tiles are cut by their values,
        which tensors do not have while ``torch.export`` traces.
    """
    if ratio == 0:
        return np.zeros(queries, np.int64), np.full(queries, keys)
    # In float32 as published: at borders of cells other precisions decide otherwise.
    half, queries, keys = (np.float32(n) for n in (ratio, queries, keys))
    centre = (np.arange(queries, dtype=np.float32) + np.float32(0.5)) / queries
    start = (centre - half).clip(0, 1) * keys
    stop = (centre + half).clip(0, 1) * keys
    return np.floor(start).astype(np.int64), np.ceil(stop).astype(np.int64)


def window_mask(
    queries: tuple[int, int], keys: tuple[int, int], ratio: float
) -> Tensor:
    """Which keys are hidden: (H * W, h * w), True where a query may not look."""
    seen = []
    for length, count in zip(queries, keys, strict=True):
        start, stop = map(torch.tensor, window_bounds(length, count, ratio))
        index = torch.arange(count)
        seen.append((index >= start[:, None]) & (index < stop[:, None]))
    rows, columns = seen
    both = rows[:, None, :, None] & columns[None, :, None, :]
    return ~both.flatten(2).flatten(0, 1)


class AxisTile(NamedTuple):
    """A run of queries along one axis with the keys that it sees.

    Attributes:
        queries: Which queries.
        keys: Which keys any of them sees.
        seen: Which of these keys each one sees, (queries, keys).
    """

    queries: slice
    keys: slice
    seen: Tensor


@torch.compiler.assume_constant_result
def _cut(queries: int, keys: int, ratio: float) -> list[tuple[int, int, int, int]]:
    """Runs of about 16 queries with the keys that they see, see :func:`lay_tiles`."""
    first, last = window_bounds(queries, keys, ratio)
    pixels = queries / keys
    if pixels < _TILE_SIDE:
        step = pixels * max(1, round(_TILE_SIDE / pixels))
    else:
        step = pixels / round(pixels / _TILE_SIDE)
    edges = [round(i * step) for i in range(int(queries / step) + 1)] + [queries]
    return [
        (start, stop, int(first[start]), int(last[stop - 1]))
        for start, stop in zip(edges, edges[1:], strict=False)
        if start < stop
    ]


@torch.compiler.assume_constant_result
def _bounds(queries: Sequence[int], keys: Sequence[int], ratio: float) -> Tensor:
    """:func:`window_bounds` of both axes, one behind the other."""
    axes = zip(queries, keys, strict=True)
    bounds = [bound for axis in axes for bound in window_bounds(*axis, ratio)]
    return torch.tensor(np.concatenate(bounds))


def lay_tiles(
    queries: Sequence[int],
    keys: Sequence[int],
    ratio: float,
    device: torch.device | str = 'cpu',
) -> tuple[list[AxisTile], list[AxisTile]]:
    """Cut the rows and the columns of a grid into runs of about 16.

    The cuts follow the borders of cells, where the windows change: a run is a number of
    cells, or a part of one.

    Args:
        queries: Height and width of the fine grid.
        keys: Height and width of the coarse grid.
        ratio: See :func:`window_bounds`.
        device: Where the masks lie; one copy brings all there.
    """
    bounds = _bounds(tuple(queries), tuple(keys), ratio).to(device)
    bounds = bounds.split([length for length in queries for _ in range(2)])
    axes = []
    for first, last, count in zip(bounds[::2], bounds[1::2], keys, strict=True):
        index = torch.arange(count, device=device)
        seen = (index >= first[:, None]) & (index < last[:, None])
        cuts = [
            (slice(start, stop), slice(low, high))
            for start, stop, low, high in _cut(len(first), count, ratio)
        ]
        axes.append([AxisTile(*cut, seen[cut]) for cut in cuts])
    return tuple(axes)


class WindowedCrossAttention(nn.Module):
    """Weighted means of raw values; only queries and keys are learned.

    The weights are those of multi-head attention, averaged over the heads. Queries pass
    a 3x3 convolution (zero border) first, both sides an RMS norm and a projection.

    Args:
        dims: Channels of queries and keys.
        num_heads: Heads; divides ``dims``.
        window_ratio: Half a window as a share of each side; 0 is attention to all.
    """

    def __init__(self, dims: int, num_heads: int, window_ratio: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_ratio = window_ratio
        self.conv2d = nn.Conv2d(dims, dims, 3, padding=1, bias=False)
        self.norm_q = nn.RMSNorm(dims)
        self.norm_k = nn.RMSNorm(dims)
        self.query = Linear(dims, dims)
        self.key = Linear(dims, dims)
        for projection in (self.query, self.key):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def lay_tiles(
        self, queries: Sequence[int], keys: Sequence[int], device: torch.device
    ) -> tuple[list[AxisTile], list[AxisTile]]:
        """:func:`lay_tiles` of this attention, the same for all images of a size."""
        return lay_tiles(queries, keys, self.window_ratio, device)

    def _project_queries(self, queries: Tensor, rows: slice) -> Tensor:
        """Some rows of queries (H, W, dims) as (heads, rows, W, dims / heads)."""
        height = len(queries)
        top, bottom = max(0, rows.start - 1), min(height, rows.stop + 1)
        missing = top - (rows.start - 1), rows.stop + 1 - bottom
        part = F.pad(queries[top:bottom], (0, 0, 1, 1, *missing))
        part = F.conv2d(part[None].permute(0, 3, 1, 2), self.conv2d.weight)
        part = self.query(self.norm_q(part[0].permute(1, 2, 0)))
        part = part * (part.shape[-1] // self.num_heads) ** -0.5
        return part.unflatten(-1, (self.num_heads, -1)).permute(2, 0, 1, 3)

    def forward(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        tiles: tuple[list[AxisTile], list[AxisTile]],
        out: Tensor | None = None,
    ) -> Tensor:
        """Attend in tiles.

        Args:
            queries: (H, W, dims).
            keys: (h, w, dims).
            values: (h, w, C).
            tiles: Of :meth:`lay_tiles`.
            out: Receives the result where no gradient is needed, which saves holding
                it twice.

        Returns:
            (H, W, C) in the data type of the values.
        """
        keys = self.key(self.norm_k(keys))
        keys = keys.unflatten(-1, (self.num_heads, -1)).permute(2, 0, 1, 3)
        row_tiles, column_tiles = tiles
        bands = []
        for rows in row_tiles:
            projected = self._project_queries(queries, rows.queries)
            parts = []
            for columns in column_tiles:
                part = projected[:, :, columns.queries]
                near = keys[:, rows.keys, columns.keys].flatten(1, 2)
                seen = rows.seen[:, None, :, None] & columns.seen[None, :, None, :]
                hidden = ~seen.flatten(2).flatten(0, 1)
                scores = part.flatten(1, 2) @ near.mT
                weights = scores.masked_fill(hidden, -torch.inf).softmax(-1).mean(0)
                # averaged over the heads first, so one product instead of one a head
                near = values[rows.keys, columns.keys].flatten(0, 1)
                tile = (weights.to(near.dtype) @ near).view(*part.shape[1:3], -1)
                if out is None:
                    parts.append(tile)
                else:
                    out[rows.queries, columns.queries] = tile
            if out is None:
                bands.append(torch.cat(parts, dim=1))
        return torch.cat(bands) if out is None else out
