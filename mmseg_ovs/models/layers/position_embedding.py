"""Learned position embedding of DINOv2 with Meta's interpolation rules.

Source: facebookresearch/dinov2, ``interpolate_pos_encoding`` and hub/backbones.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def interpolate_position_embedding(
    pos_embed: Tensor, grid: tuple[int, int], *, offset: float, antialias: bool
) -> Tensor:
    """Resize the patch part of a position embedding to another grid (bicubic).

    Args:
        pos_embed: (1, 1 + M * M, C), class position first, square native grid.
        grid: Rows and columns wanted.
        offset: If not 0, *scale factors* ``(side + offset) / M`` are passed to the
            resize instead of the size, so the sampling step is ``M / (side + offset)``
            (hub models without registers: 0.1).
        antialias: Whether the resize is antialiased (hub models with registers).

    Returns:
        (1, 1 + rows * columns, C). Only the native grid is returned untouched.
    """
    rows, columns = grid
    native = round((pos_embed.shape[1] - 1) ** 0.5)
    if (rows, columns) == (native, native):
        return pos_embed
    cls_position, patches = pos_embed[:, :1], pos_embed[:, 1:].float()
    patches = patches.unflatten(1, (native, native)).permute(0, 3, 1, 2)
    if offset:
        scale = ((rows + offset) / native, (columns + offset) / native)
        patches = F.interpolate(
            patches, scale_factor=scale, mode='bicubic', antialias=antialias
        )
        if patches.shape[-2:] != (rows, columns):  # floor(M * scale) is the grid
            raise RuntimeError(f'{tuple(patches.shape[-2:])} is not the grid {grid}')
    else:
        patches = F.interpolate(
            patches, size=(rows, columns), mode='bicubic', antialias=antialias
        )
    patches = patches.flatten(2).transpose(1, 2).to(pos_embed.dtype)
    return torch.cat([cls_position, patches], dim=1)
