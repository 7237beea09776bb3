"""Sizes of a graph's inputs, and tensors of these sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import Dim

from .errors import ExportError

# Free sizes are traced with these: 1 would be taken for a constant.
_FREE_BATCH, _FREE_ROWS = 2, 7


@dataclass(frozen=True)
class GraphInputs:
    """Inputs of a graph: ``image`` (B, 3, H, W) and ``text`` (R, D) or (R, P, D).

    Attributes:
        size: Height and width of the images.
        batch: Number of images. None: any.
        vector: Shape of the text vectors of one name. None: the graph has no text
            input.
        rows: Number of text rows. None: any.
        max_rows: Most text rows, where any number up to it goes.
    """

    size: tuple[int, int]
    batch: int | None = 1
    vector: tuple[int, ...] | None = None
    rows: int | None = None
    max_rows: int | None = None

    def __post_init__(self) -> None:
        if min(self.size) < 1 or len(self.size) != 2:
            raise ExportError(f'size has to be height and width, got {self.size}')
        for name in ('batch', 'rows'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ExportError(f'{name} has to be at least 1, got {value}')

    @property
    def sides(self) -> dict[str, str | None]:
        """Names of the inputs in order, with the name of a free first side."""
        sides = {'image': 'batch' if 'batch' in self.free else None}
        if self.vector is not None:
            sides['text'] = 'rows' if 'rows' in self.free else None
        return sides

    @property
    def free(self) -> dict[str, int]:
        """Names of the free sizes and the values with which they are traced."""
        sizes = {}
        if self.batch is None:
            sizes['batch'] = _FREE_BATCH
        if self.vector is not None and self.rows is None:
            sizes['rows'] = min(_FREE_ROWS, self.max_rows or _FREE_ROWS)
        return sizes

    def example(
        self, batch: int | None = None, rows: int | None = None, seed: int = 0
    ) -> tuple[Tensor, ...]:
        """Random inputs; free sizes as given, or as traced."""
        generator = torch.Generator().manual_seed(seed)
        batch = self.batch or batch or self.free['batch']
        inputs = [torch.randn(batch, 3, *self.size, generator=generator)]
        if self.vector is not None:
            rows = self.rows or rows or self.free['rows']
            inputs.append(torch.randn(rows, *self.vector, generator=generator))
        return tuple(inputs)

    def dynamic_shapes(self) -> tuple[dict[int, Dim], ...]:
        """For ``torch.export``: which side of which input is free."""
        dims = {'batch': Dim('batch'), 'rows': Dim('rows', max=self.max_rows)}
        return tuple({0: dims[side]} if side else {} for side in self.sides.values())
