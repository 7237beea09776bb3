"""Spatial aggregation: two Swin blocks a class, guided by what the image looks like.

Guidance is concatenated to the tokens before the query and key projections. Since it
is the same for all classes, its half of those projections is computed once an image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import GuidedLinear, Linear, Mlp
from .shifted_windows import ShiftedWindows


class PreparedWindows(NamedTuple):
    """What one Swin block needs of an image in addition to the tokens of a class.

    Attributes:
        windows: The windows.
        share: Share of guidance and biases in q, k and v, broadcastable to
            (T, W, N, 3 * dims).
    """

    windows: ShiftedWindows
    share: Tensor


class GuidedWindowAttention(nn.Module):
    """Attention inside windows; q and k see tokens and guidance, v the tokens.

    Args:
        dims: Channels of tokens.
        guidance_dims: Channels of the guidance; 0: none.
        num_heads: Heads.
    """

    def __init__(self, dims: int, guidance_dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = GuidedLinear(dims, guidance_dims)
        self.k = GuidedLinear(dims, guidance_dims)
        self.v = Linear(dims, dims)
        self.proj = Linear(dims, dims)

    def share(self, guidance: Tensor | None) -> Tensor:
        """Guidance (..., G) to its share in q, k, v with their biases (..., 3 * C)."""
        if guidance is None:
            return torch.cat([self.q.bias, self.k.bias, self.v.bias])
        query, key = self.q.share(guidance), self.k.share(guidance)
        return torch.cat([query, key, self.v.bias.expand_as(query)], dim=-1)

    def forward(self, x: Tensor, share: Tensor, masks: list[Tensor | None]) -> Tensor:
        """Windows (T, W, N, C) to the same; see :meth:`share`."""
        # One product instead of three reads the windows once.
        weight = torch.cat([self.q.own_weight, self.k.own_weight, self.v.weight])
        qkv = self.v.multiply(x, weight).add_(share)
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1)).permute(3, 1, 0, 4, 2, 5)
        attended = [
            F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            for q, k, v, mask in zip(*qkv, masks, strict=True)
        ]
        attended = torch.stack([a.transpose(1, 2) for a in attended], dim=1)
        return self.proj(attended.flatten(3))


class SwinBlock(nn.Module):
    """Window attention and feed-forward network, each pre-normed and residual."""

    def __init__(self, dims: int, guidance_dims: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims)
        self.attn = GuidedWindowAttention(dims, guidance_dims, num_heads)
        self.norm2 = nn.LayerNorm(dims)
        self.mlp = Mlp(dims, 4 * dims)

    def forward(self, x: Tensor, prepared: PreparedWindows) -> Tensor:
        """Tokens (T, h * w, C) to the same."""
        windows, share = prepared
        attended = self.attn(windows.partition(self.norm1(x)), share, windows.masks)
        x = x + windows.unpartition(attended)
        return x + self.mlp(self.norm2(x))


class SpatialBlock(nn.Module):
    """A plain and a shifted Swin block with appearance guidance.

    Args:
        dims: Channels of tokens.
        guidance_dims: Channels of the guidance; 0: none.
        num_heads: Heads.
        window_size: Side of a window.
    """

    def __init__(
        self, dims: int, guidance_dims: int, num_heads: int = 4, window_size: int = 12
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.block_1 = SwinBlock(dims, guidance_dims, num_heads)
        self.block_2 = SwinBlock(dims, guidance_dims, num_heads)
        self.guidance_norm = nn.LayerNorm(guidance_dims) if guidance_dims else None

    def lay_windows(self, size: tuple[int, int]) -> list[ShiftedWindows]:
        """Windows of both blocks over a grid (height, width), the same in any layer."""
        device = self.block_1.norm1.weight.device
        return [
            ShiftedWindows.build(size, self.window_size, shift, device)
            for shift in (0, self.window_size // 2)
        ]

    def prepare(
        self, guidance: Tensor | None, windows: list[ShiftedWindows]
    ) -> list[PreparedWindows]:
        """The work of an image that no class changes.

        Args:
            guidance: Guidance map (G, h, w), or None.
            windows: Of :meth:`lay_windows`.
        """
        if self.guidance_norm is not None:
            guidance = self.guidance_norm(guidance.flatten(1).t())[None]
        prepared = []
        for block, laid in zip((self.block_1, self.block_2), windows, strict=True):
            inside = None if guidance is None else laid.partition(guidance)
            prepared.append(PreparedWindows(laid, block.attn.share(inside)))
        return prepared

    def forward(self, x: Tensor, prepared: list[PreparedWindows]) -> Tensor:
        """Cost (T, h, w, C) of any classes to the same."""
        tokens = x.flatten(1, 2)
        tokens = self.block_1(tokens, prepared[0])
        tokens = self.block_2(tokens, prepared[1])
        return tokens.view_as(x)

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Leave the authors' stored masks out, which follow from the grid's size."""
        return {k: v for k, v in state.items() if k.split('.')[-1] != 'attn_mask'}
