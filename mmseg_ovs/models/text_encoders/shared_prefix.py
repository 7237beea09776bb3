"""What a causal tower need not compute: shared beginnings, and all but the last token.

A token sees none after itself. So keys and values of "a photo of a" are the same for
all names that follow, and half of the tokens of a template's prompts need not be
computed again for each name. And behind the last attention only the token counts where
the embedding is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import SelfAttention, multiply


class SharesPrefix:
    """Causal self-attention that can keep keys and values, and attend to kept ones."""

    prefix: tuple[Tensor, Tensor] | None = None
    keeps = False

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries, keys and values (n, heads, L, C) to (n, heads, L, C)."""
        if self.keeps:
            self.prefix = k, v
        if self.keeps or self.prefix is None:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        shared = self.prefix[0].shape[2]
        k, v = (
            torch.cat([kept.expand(len(own), -1, -1, -1), own], dim=2)
            for kept, own in zip(self.prefix, (k, v), strict=True)
        )
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.tril(shared))


class PrefixSelfAttention(SharesPrefix, SelfAttention):
    """That of dino.txt."""


class PrefixAttention(SharesPrefix, nn.MultiheadAttention):
    """That of open_clip; with gradients it is what it was.

    Attributes:
        onednn: See :class:`~mmseg_ovs.models.layers.Linear`.
    """

    onednn = False

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Self-attention of tokens (n, L, C); arguments as in the base class."""
        if torch.is_grad_enabled():
            return super().forward(query, key, value, **kwargs)
        qkv = multiply(query, self.in_proj_weight, self.in_proj_bias, self.onednn)
        q, k, v = (
            x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x in qkv.chunk(3, -1)
        )
        out = self.attend(q, k, v).transpose(1, 2).flatten(2)
        out_proj = self.out_proj
        return multiply(out, out_proj.weight, out_proj.bias, self.onednn), None


class EndMlp(nn.Sequential):
    """The feed-forward part of the last block, where only one token of a text counts.

    Attributes:
        ends: The place of this token (n,); at others the result is zero. None: all
            tokens are computed.
    """

    ends: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (n, L, C) to the same shape."""
        if self.ends is None:
            return super().forward(x)
        rows, out = torch.arange(len(x), device=x.device), torch.zeros_like(x)
        out[rows, self.ends] = super().forward(x[rows, self.ends]).to(out)
        return out


def _recast(module: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """The same module with the methods of another class."""
    own = kind.__new__(kind)
    own.__dict__.update(module.__dict__)
    return own


def use_prefix_attention(tower: nn.Module) -> bool:
    """Give a tower's blocks attention that can share; whether all of them could.

    The last block also gets an :class:`EndMlp`.
    """
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
        block.attn = _recast(attention, PrefixAttention)
    if type(getattr(block, 'mlp', None)) is nn.Sequential:
        block.mlp = _recast(block.mlp, EndMlp)
    return True


@contextmanager
def only_ends(tower: nn.Module, ends: Tensor) -> Iterator[None]:
    """Let the tower compute, where it can, only what reaches one token of each text.

    Args:
        tower: The tower.
        ends: The place of this token (n,).
    """
    parts = [m for m in tower.modules() if isinstance(m, EndMlp)]
    try:
        for part in parts:
            part.ends = ends
        yield
    finally:
        for part in parts:
            part.ends = None


@contextmanager
def after_prefix(tower: nn.Module, run_prefix: Callable[[], Any]) -> Iterator[None]:
    """Let what runs through the tower inside come after the tokens of a prefix.

    Args:
        tower: A tower whose attention layers are all :class:`SharesPrefix`.
        run_prefix: Runs the prefix, one text, through the tower.
    """
    layers = [m for m in tower.modules() if isinstance(m, SharesPrefix)]
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
