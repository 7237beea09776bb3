"""Axial rotary position embedding of DINOv3.

Source: facebookresearch/dinov3, dinov3/layers/rope_position_encoding.py. The random
shift, jitter and rescaling of coordinates in pre-training are left out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

NORMALIZE_COORDS = ('separate', 'max', 'min')


class AxialRoPE(nn.Module):
    """Sine and cosine tables for a grid of patches.

    Coordinates are patch centres in -1..1. The first quarter of a head turns with the
    row, the second with the column, and the second half repeats the first.

    Args:
        head_dims: Channels of one attention head, a multiple of 4.
        base: Base of the geometric series of periods.
        normalize_coords: Length that maps to -1..1: that of each axis ('separate'), the
            longer ('max') or the shorter ('min') side.
    """

    def __init__(
        self, head_dims: int, base: float = 100.0, normalize_coords: str = 'separate'
    ) -> None:
        super().__init__()
        if head_dims % 4:
            raise ValueError(f'head_dims has to be a multiple of 4, got {head_dims}')
        if normalize_coords not in NORMALIZE_COORDS:
            raise ValueError(
                f'normalize_coords has to be one of {NORMALIZE_COORDS}, got '
                f'{normalize_coords!r}'
            )
        self.head_dims = head_dims
        self.base = base
        self.normalize_coords = normalize_coords
        # A persistent buffer: published checkpoints carry periods of their own.
        self.register_buffer('periods', self.formula_periods())

    def formula_periods(self) -> Tensor:
        """Periods (head_dims / 4,) from the base."""
        exponents = 2 * torch.arange(self.head_dims // 4) / (self.head_dims // 2)
        return self.base**exponents

    def forward(
        self, height: int, width: int, num_prefix: int
    ) -> tuple[Tensor, Tensor]:
        """Tables for ``num_prefix`` unrotated tokens followed by the patches.

        Returns:
            sin, cos: each (num_prefix + height * width, head_dims), float32.
        """
        length = {
            'separate': (height, width),
            'max': (max(height, width),) * 2,
            'min': (min(height, width),) * 2,
        }[self.normalize_coords]
        device = self.periods.device
        rows = torch.arange(0.5, height, device=device) / length[0]
        columns = torch.arange(0.5, width, device=device) / length[1]
        coords = torch.stack(torch.meshgrid(rows, columns, indexing='ij'), dim=-1)
        coords = 2 * coords.flatten(0, 1) - 1
        angles = 2 * math.pi * coords[:, :, None] / self.periods.float()
        angles = angles.flatten(1).tile(2)
        # sin 0, cos 1 leaves the class and register tokens as they are
        angles = torch.cat([angles.new_zeros(num_prefix, self.head_dims), angles])
        return angles.sin(), angles.cos()


def apply_rope(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate element i of a head with element i + head_dims / 2.

    Args:
        x: Queries or keys (B, heads, tokens, head_dims).
        rope: Tables of :class:`AxialRoPE`.
    """
    sin, cos = rope
    first, second = x.float().chunk(2, dim=-1)
    rotated = torch.cat([-second, first], dim=-1)
    return (x.float() * cos + rotated * sin).to(x.dtype)
