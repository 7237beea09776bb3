"""Multi-head self-attention of the DINO family.

Keys follow facebookresearch/dinov2 and dinov3 (``qkv``, ``proj``).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear, MaskedKeyBiasLinear
from .rope import apply_rope


class SelfAttention(nn.Module):
    """Scaled dot-product self-attention.

    Args:
        dims: Channels.
        num_heads: Heads; divides ``dims``.
        qkv_bias: Whether queries, keys and values have a bias.
        mask_key_bias: Keep the key bias at zero (DINOv3).
        causal: Whether a token sees none after itself (text).
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        mask_key_bias: bool = False,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if dims % num_heads:
            raise ValueError(f'{num_heads} heads do not divide {dims} channels')
        self.num_heads = num_heads
        self.causal = causal
        if qkv_bias and mask_key_bias:
            self.qkv = MaskedKeyBiasLinear(dims, 3 * dims)
        else:
            self.qkv = Linear(dims, 3 * dims, bias=qkv_bias)
        self.proj = Linear(dims, dims)

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor] | None = None,
        cls_attention_from: int | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            x: Tokens (B, N, dims).
            rope: Rotary tables for all N tokens.
            cls_attention_from: Index of the first patch token; if given, the products
                of the first token's query with the keys from there on are returned too.

        Returns:
            Tokens (B, N, dims) and, if asked for, q . k (B, heads, patches) before the
            rotary embedding, unscaled.
        """
        batch, tokens, dims = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        cls_attention = None
        if cls_attention_from is not None:
            keys = k[:, :, cls_attention_from:]
            cls_attention = (q[:, :, :1] @ keys.transpose(-2, -1)).squeeze(2)
        if rope is not None:
            q, k = apply_rope(q, rope), apply_rope(k, rope)
        out = self.attend(q, k, v).transpose(1, 2).reshape(batch, tokens, dims)
        return self.proj(out), cls_attention

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries, keys and values (B, heads, N, C) to (B, heads, N, C)."""
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
