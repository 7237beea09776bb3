"""Learnable per-channel scale of a residual branch (CaiT, arXiv 2103.17239)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerScale(nn.Module):
    """Multiply the last dimension by ``gamma``.

    Args:
        dims: Number of channels.
        init_value: Initial value of every entry of ``gamma``.
    """

    def __init__(self, dims: int, init_value: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dims,), float(init_value)))

    def forward(self, x: Tensor) -> Tensor:
        """(..., dims) -> (..., dims)."""
        return x * self.gamma
