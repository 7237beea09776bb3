"""SAM's attention without its maps of patches x patches values.

Source of the formula: facebookresearch/segment-anything, modeling/image_encoder.py
(``Attention``), after Li et al., "MViTv2" (arXiv 2112.01526).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import Tensor


class FusedAttention(Attention):
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
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = qkv.permute(3, 0, 4, 1, 2, 5)  # (B, heads, H, W, c) each
        dims = query.shape[-1]
        to_rows = torch.einsum(
            'bnhwc,hkc->bnhwk', query, get_rel_pos(height, height, self.rel_pos_h)
        )
        to_columns = torch.einsum(
            'bnhwc,wkc->bnhwk', query, get_rel_pos(width, width, self.rel_pos_w)
        )
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
