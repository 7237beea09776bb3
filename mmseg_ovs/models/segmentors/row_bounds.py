"""Text rows that win nowhere, found before their scores are resized and refined.

From the patch grid to the labels scores are averaged with weights that do not depend
on them (resize, PAMR, merge of windows) or put through a rising function. That keeps
order: the maximum of some rows on the grid becomes, on its way, nowhere less than any
of them. If it stays below the best of other rows at every pixel, none of them can win.
This holds for rounded numbers too, as rounding keeps order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..utils import ReachedRows, RunningArgmax

# Rows under one bound at first, and the most bounds: they cost at most 3 % if they are
# loose. Bounds that hold are divided if what they leave is few rows.
_ROWS_PER_BOUND, _MOST_BOUNDS, _PARTS, _FEW = 32, 16, 8, 0.25
# For kernels that sum in another order, as a share of the highest score.
_MARGIN = 1e-5


def best_rows(
    grids: Sequence[Tensor],
    sweep: Callable[[list[Tensor], RunningArgmax | ReachedRows], None],
    argmax: RunningArgmax,
) -> None:
    """What ``sweep(grids, argmax)`` does, of as few rows as the bounds leave.

    Args:
        grids: Scores (R, h, w) of every view on its patch grid.
        sweep: Resizes, refines and merges rows and hands the maps to its argument.
        argmax: Empty; receives the best row of every pixel, ties to the first.
    """
    first, rest = _by_hope(grids)
    count = min(_MOST_BOUNDS, len(rest) // _ROWS_PER_BOUND)
    if count < 2 or not 0 < len(first) < len(rest):
        return sweep(list(grids), argmax)
    sweep([grid[first] for grid in grids], argmax)
    argmax.renumber(first)
    groups = list(rest.tensor_split(count))
    while True:
        bounds = ReachedRows(argmax.best, _MARGIN * float(argmax.best.abs().max()))
        sweep([_highest(grid, groups) for grid in grids], bounds)
        pairs = zip(groups, bounds.reached, strict=True)
        groups = [group for group, reached in pairs if reached]
        left = sum(map(len, groups))
        if left > _FEW * len(rest) or left <= _PARTS * len(groups):
            break
        groups = [part for g in groups for part in g.tensor_split(_PARTS) if len(part)]
    if groups:
        rows = torch.cat(groups).sort().values
        others = RunningArgmax(tuple(argmax.best.shape), rows.device, argmax.best.dtype)
        sweep([grid[rows] for grid in grids], others)
        others.renumber(rows)
        argmax.absorb(others)
    return None


def _by_hope(grids: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows that are best somewhere, rising; the others, nearest to it first.

    None are best where a score is NaN or infinite.
    """
    distance = torch.stack(
        [(grid - grid.amax(dim=0)).flatten(1).amax(dim=1) for grid in grids]
    ).amax(dim=0)
    order = distance.argsort(descending=True, stable=True)
    winners = int((distance >= 0).sum())
    return order[:winners].sort().values, order[winners:]


def _highest(grid: Tensor, groups: Sequence[Tensor]) -> Tensor:
    """Maximum (groups, h, w) of each group of rows."""
    return torch.stack([grid[group].amax(dim=0) for group in groups])
