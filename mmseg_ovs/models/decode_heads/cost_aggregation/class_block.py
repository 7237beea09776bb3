"""Class aggregation: at every place the classes look at each other.

Keys and values of all classes are summed up (linear attention) or kept (full attention)
in one pass over chunks of classes; a second pass asks. Padding tokens are equal, so
one of them represents all, with its multiplicity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import GuidedLinear, Linear
from .chunks import replace_chunk

# Keys and values (n, places, heads, dims) and how often each of the n tokens counts.
KeysValues = tuple[Tensor, Tensor, int]


class LinearAttention:
    """elu(q) + 1 times elu(k) + 1 in place of a softmax; memory without classes.

    Source: Katharopoulos et al., "Transformers are RNNs" (ICML 2020).

    Args:
        tokens: Keys and values of all tokens, piece by piece.
        length: Number of tokens.
    """

    eps = 1e-6

    def __init__(self, tokens: Iterable[KeysValues], length: int) -> None:
        self.length = length
        self.key_values = self.keys = 0
        for k, v, times in tokens:
            k = F.elu(k) + 1
            # Divided by the length so that half precision does not overflow.
            product = torch.einsum('nphd,nphe->phde', k, v * (times / length))
            self.key_values = self.key_values + product
            self.keys = self.keys + times * k.sum(0)

    def __call__(self, q: Tensor) -> Tensor:
        """Queries (n, places, heads, dims) to attended values of that shape."""
        q = F.elu(q) + 1
        weight = torch.einsum('nphd,phd->nph', q, self.keys) + self.eps
        values = torch.einsum('nphd,phde->nphe', q, self.key_values)
        return values * (self.length / weight)[..., None]


class FullAttention:
    """Softmax attention; a token that counts n times gets log n on its logits.

    Args:
        tokens: Keys and values of all tokens, piece by piece.
        length: Not used; :class:`LinearAttention` needs it.
    """

    def __init__(self, tokens: Iterable[KeysValues], length: int) -> None:
        keys, values, times = zip(*tokens, strict=True)
        self.keys, self.values = _by_place(keys), _by_place(values)
        self.bias = None
        if any(count != 1 for count in times):
            counts = [
                self.keys.new_full((k.shape[0],), n)
                for k, n in zip(keys, times, strict=True)
            ]
            self.bias = torch.cat(counts).log()

    def __call__(self, q: Tensor) -> Tensor:
        """Queries (n, places, heads, dims) to attended values of that shape."""
        bias = None if self.bias is None else self.bias.expand(q.shape[0], -1)
        q = q.permute(1, 2, 0, 3)
        attended = F.scaled_dot_product_attention(
            q, self.keys, self.values, attn_mask=bias
        )
        return attended.permute(2, 0, 1, 3)


def _by_place(pieces: tuple[Tensor, ...]) -> Tensor:
    """Pieces (n, places or 1, heads, dims) to (places, heads, sum of n, dims)."""
    places = max(piece.shape[1] for piece in pieces)
    pieces = [piece.expand(-1, places, -1, -1) for piece in pieces]
    return torch.cat(pieces).permute(1, 2, 0, 3)


ATTENTIONS = {'linear': LinearAttention, 'full': FullAttention}


class ClassAttention(nn.Module):
    """Attention over classes; q and k see tokens and guidance, v the tokens.

    Args:
        dims: Channels of tokens.
        guidance_dims: Channels of the text guidance.
        num_heads: Heads.
        kind: 'linear' or 'full'.
        appearance_dims: Channels of guidance by place; 0: none.
    """

    def __init__(
        self,
        dims: int,
        guidance_dims: int,
        num_heads: int,
        kind: str,
        appearance_dims: int = 0,
    ) -> None:
        super().__init__()
        if kind not in ATTENTIONS:
            raise ValueError(
                f'Attention over classes has to be one of {sorted(ATTENTIONS)}, got '
                f'{kind!r}'
            )
        self.num_heads = num_heads
        self.kind = kind
        self.q = GuidedLinear(dims, guidance_dims)
        self.k = GuidedLinear(dims, guidance_dims)
        self.v = Linear(dims, dims)
        # As if concatenated to tokens and text, but computed once for all classes.
        self.appearance = None
        if appearance_dims:
            self.appearance = Linear(appearance_dims, 2 * dims, bias=False)

    def shares_by_place(self, appearance: Tensor | None) -> tuple[Tensor | None, ...]:
        """Guidance by place (places, G) to its shares (places, C) in q and k."""
        if self.appearance is None:
            return None, None
        return self.appearance(appearance).chunk(2, dim=-1)

    def queries(self, x: Tensor, guidance: Tensor, by_place: Tensor | None) -> Tensor:
        """Tokens (n, places, C), guidance (n, G): (n, places, heads, C / heads)."""
        return self._project(self.q, x, guidance, by_place)

    def keys_values(
        self, x: Tensor, guidance: Tensor, by_place: Tensor | None, times: int = 1
    ) -> KeysValues:
        """Keys and values of tokens (n, places, C) with guidance (n, G)."""
        value = self.v(x).unflatten(-1, (self.num_heads, -1))
        return self._project(self.k, x, guidance, by_place), value, times

    def _project(
        self,
        linear: GuidedLinear,
        x: Tensor,
        guidance: Tensor,
        by_place: Tensor | None,
    ) -> Tensor:
        out = linear.from_parts(x, linear.share(guidance)[:, None])
        if by_place is not None:
            out = out.add_(by_place)
        return out.unflatten(-1, (self.num_heads, -1))


class ClassBlock(nn.Module):
    """Attention over classes at pooled places, added to the unpooled cost.

    Args:
        dims: Channels of tokens.
        guidance_dims: Channels of the text guidance.
        num_heads: Heads.
        attention: 'linear' or 'full'.
        pooling: Height and width that are averaged into one place.
        test_pooling: The same outside training. None: as in training.
        pad_len: Fewer classes are filled up to this number with learned tokens. None:
            they are not.
        appearance_dims: Channels of a map that guides queries and keys besides the
            text; 0: none does.
    """

    def __init__(
        self,
        dims: int,
        guidance_dims: int,
        num_heads: int = 4,
        attention: str = 'linear',
        pooling: tuple[int, int] = (2, 2),
        test_pooling: tuple[int, int] | None = None,
        pad_len: int | None = None,
        appearance_dims: int = 0,
    ) -> None:
        super().__init__()
        if pad_len is not None and pad_len < 1:
            raise ValueError(
                f'pad_len has to be at least 1, got {pad_len}. Padding and truncation '
                "are switched off by None (the authors' 0)"
            )
        self.train_pooling = tuple(pooling)
        self.test_pooling = tuple(test_pooling or pooling)
        self.pad_len = pad_len
        self.attention = ClassAttention(
            dims, guidance_dims, num_heads, attention, appearance_dims
        )
        self.guidance_norm = nn.LayerNorm(appearance_dims) if appearance_dims else None
        self.MLP = nn.Sequential(
            Linear(dims, 4 * dims), nn.ReLU(), Linear(4 * dims, dims)
        )
        self.norm1 = nn.LayerNorm(dims)
        self.norm2 = nn.LayerNorm(dims)
        if pad_len is not None:
            self.padding_tokens = nn.Parameter(torch.zeros(1, 1, dims))
            self.padding_guidance = nn.Parameter(torch.zeros(1, 1, guidance_dims))

    def forward(
        self, chunks: list[Tensor], guidance: Tensor, appearance: Tensor | None = None
    ) -> None:
        """Refine the cost of all classes of an image.

        Args:
            chunks: Cost (t, h, w, C) of some classes each; replaced.
            guidance: Text guidance (T, G) of all classes.
            appearance: Guidance map (G, h, w), if built with it.
        """
        if self.guidance_norm is not None:
            pooled = self._pool(appearance.permute(1, 2, 0)[None])
            appearance = self.guidance_norm(pooled.flatten(0, 2))
        for_queries, for_keys = self.attention.shares_by_place(appearance)
        shares = guidance.split([chunk.shape[0] for chunk in chunks])
        length = max(guidance.shape[0], self.pad_len or 0)
        tokens = self._keys_values(chunks, shares, for_keys, length)
        attention = ATTENTIONS[self.attention.kind](tokens, length)
        for i, share in enumerate(shares):
            refined = self._refine(chunks[i], share, for_queries, attention)
            replace_chunk(chunks, i, refined)

    def _keys_values(
        self,
        chunks: list[Tensor],
        shares: tuple[Tensor, ...],
        by_place: Tensor | None,
        length: int,
    ) -> Iterator[KeysValues]:
        for chunk, share in zip(chunks, shares, strict=True):
            pooled = self._pool(chunk).flatten(1, 2)
            yield self.attention.keys_values(self.norm1(pooled), share, by_place)
        padding = length - sum(share.shape[0] for share in shares)
        if padding:
            tokens = self.norm1(self.padding_tokens)
            if by_place is not None:  # then keys differ by place
                tokens = tokens.expand(-1, len(by_place), -1)
            yield self.attention.keys_values(
                tokens, self.padding_guidance[0], by_place, padding
            )

    def _refine(
        self,
        chunk: Tensor,
        share: Tensor,
        by_place: Tensor | None,
        attention: LinearAttention | FullAttention,
    ) -> Tensor:
        pooled = self._pool(chunk)
        x = pooled.flatten(1, 2)
        queries = self.attention.queries(self.norm1(x), share, by_place)
        x = x + attention(queries).flatten(2)
        x = (x + self.MLP(self.norm2(x))).view_as(pooled)
        if x.shape != chunk.shape:
            x = F.interpolate(
                x.permute(0, 3, 1, 2),
                chunk.shape[1:3],
                mode='bilinear',
                align_corners=True,
            ).permute(0, 2, 3, 1)
        return chunk + x

    def _pool(self, x: Tensor) -> Tensor:
        """(t, h, w, C) to the pooled places (t, h', w', C)."""
        size = self.train_pooling if self.training else self.test_pooling
        if size == (1, 1):
            return x
        return F.avg_pool2d(x.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
