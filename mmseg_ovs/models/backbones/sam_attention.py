"""SAM's attention, without transfers to a GPU and without its large maps.

Source of the formula: facebookresearch/segment-anything, modeling/image_encoder.py
(``Attention``), after Li et al., "MViTv2" (arXiv 2112.01526).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention
from torch import Tensor


def relative_positions(size: int, table: Tensor) -> Tensor:
    """Vectors (size, size, c) of each query and key along one axis.

    The package makes the indices on the CPU, for which a GPU waits in every block.

    Args:
        size: Length of the axis.
        table: Vectors (L, c) of the distances, resampled where the axis is of another
            length than the table was made for.
    """
    distances = 2 * size - 1
    if len(table) != distances:
        table = F.interpolate(table.t()[None], distances, mode='linear')[0].t()
    places = torch.arange(size, device=table.device)
    return table[places[:, None] - places + size - 1]


class PlainAttention(Attention):
    """The package's attention, equal to it bit for bit."""

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, H, W, C) to queries, keys, values (B, heads, H, W, c)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        return qkv.permute(3, 0, 4, 1, 2, 5).unbind()

    def bias(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """What all rows (..., H, W, H) and columns (..., H, W, W) add to the logits."""
        height, width = query.shape[-3:-1]
        rows = relative_positions(height, self.rel_pos_h)
        columns = relative_positions(width, self.rel_pos_w)
        return (
            torch.einsum('...hwc,hkc->...hwk', query, rows),
            torch.einsum('...hwc,wkc->...hwk', query, columns),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, H, W, C) to (B, H, W, C)."""
        query, key, value = (t.flatten(0, 1) for t in self.project(x))
        size = query.shape[1:3]
        to_rows, to_columns = self.bias(query)
        query, key, value = (t.flatten(1, 2) for t in (query, key, value))
        logits = (query * self.scale) @ key.mT
        logits = logits.unflatten(1, size).unflatten(3, size)
        logits = logits + to_rows[..., None] + to_columns[..., None, :]
        out = logits.flatten(3).flatten(1, 2).softmax(dim=-1) @ value
        out = out.unflatten(1, size).unflatten(0, (len(x), self.num_heads))
        return self.proj(out.permute(0, 2, 3, 1, 4).flatten(3))


class FusedAttention(PlainAttention):
    """The package's attention through ``scaled_dot_product_attention``.

    The bias of a query q for a key in row y and column x is ``q . Rh[y] + q . Rw[x]``.
    Here it becomes part of the scalar product itself: the query is lengthened by its
    products with all rows and columns, the key by ones at its own row and column. So a
    fused kernel needs no bias, and neither scores nor weights are ever held as a whole.
    Equal to the package within float error.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, H, W, C) to (B, H, W, C)."""
        height, width = x.shape[1:3]
        query, key, value = self.project(x)
        dims = query.shape[-1]
        to_rows, to_columns = self.bias(query)
        row = torch.eye(height, dtype=key.dtype, device=key.device)
        column = torch.eye(width, dtype=key.dtype, device=key.device)
        query = torch.cat([query * self.scale, to_rows, to_columns], dim=-1)
        key = torch.cat(
            [
                key,
                row[:, None].expand(*key.shape[:4], -1),
                column.expand(*key.shape[:4], -1),
            ],
            dim=-1,
        )
        value = F.pad(value, (0, height + width))  # the kernels want one width
        query, key, value = (t.flatten(2, 3) for t in (query, key, value))
        out = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        out = out[..., :dims].transpose(1, 2).flatten(2).unflatten(1, (height, width))
        return self.proj(out)
