"""Prompts that begin alike: what they share goes through the tower once.

In a causal tower a token sees none after itself. So keys and values of "a photo of a"
are the same for all names that follow, and half of the tokens of a template's prompts
need not be computed again for each name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PrefixAttention(nn.MultiheadAttention):
    """Causal self-attention that can keep keys and values, and attend to kept ones.

    Outside of :func:`after_prefix` it is what it was.
    """

    prefix: tuple[Tensor, Tensor] | None = None
    keeps = False

    @classmethod
    def from_attention(cls, attention: nn.MultiheadAttention) -> PrefixAttention:
        """Take over the weights of an attention layer, under the same names."""
        own = cls.__new__(cls)
        own.__dict__.update(attention.__dict__)
        return own

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Self-attention of tokens (n, L, C); arguments as in the base class."""
        if not self.keeps and self.prefix is None:
            return super().forward(query, key, value, **kwargs)
        qkv = F.linear(query, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (
            x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x in qkv.chunk(3, -1)
        )
        shared = 0
        if self.keeps:
            self.prefix = k, v
        else:
            shared = self.prefix[0].shape[2]
            k, v = (
                torch.cat([kept.expand(len(own), -1, -1, -1), own], dim=2)
                for kept, own in zip(self.prefix, (k, v), strict=True)
            )
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.tril(shared))
        return self.out_proj(out.transpose(1, 2).flatten(2)), None


def use_prefix_attention(tower: nn.Module) -> bool:
    """Give a tower's blocks attention that can share; whether all of them could."""
    layers = [
        (block, block.attn)
        for block in tower.modules()
        if isinstance(getattr(block, 'attn', None), nn.MultiheadAttention)
    ]
    every = [m for m in tower.modules() if isinstance(m, nn.MultiheadAttention)]
    plain = all(
        m.batch_first and m._qkv_same_embed_dim and m.bias_k is None and not m.dropout
        for m in every
    )
    if not plain or not layers or len(layers) < len(every):
        return False
    for block, attention in layers:
        block.attn = PrefixAttention.from_attention(attention)
    return True


@contextmanager
def after_prefix(tower: nn.Module, run_prefix: Callable[[], Any]) -> Iterator[None]:
    """Let what runs through the tower inside come after the tokens of a prefix.

    Args:
        tower: A tower for which :func:`use_prefix_attention` was true.
        run_prefix: Runs the prefix, one text, through the tower.
    """
    layers = [m for m in tower.modules() if isinstance(m, PrefixAttention)]
    try:
        for layer in layers:
            layer.keeps = True
        run_prefix()
        for layer in layers:
            layer.keeps = False
        yield
    finally:
        for layer in layers:
            layer.keeps, layer.prefix = False, None


def common_prefix(tokens: Tensor, lengths: Tensor) -> int:
    """How many leading tokens all texts share, without the last of any.

    Args:
        tokens: (n, L).
        lengths: How many tokens of each count (n,).
    """
    same = (tokens == tokens[0]).all(dim=0)
    shared = int(same.long().cumprod(0).sum())
    return min(shared, int(lengths.min()) - 1)
