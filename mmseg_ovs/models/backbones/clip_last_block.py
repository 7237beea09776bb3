"""CLIP's last block in the forms that keep its patches in the space of text.

CLIP was trained for its class token, so its last attention mixes what patches mean. The
methods below change nothing but that block. Sources of their formulas: Zhou et al.,
"MaskCLIP" (arXiv 2112.01071); Cho et al., "CAT-Seg" (arXiv 2303.11797); Wang et al.,
"SCLIP" (arXiv 2312.01597); Hajimiri et al., "NACLIP" (arXiv 2404.08181); Lan et al.,
"ClearCLIP" (arXiv 2407.12442).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_ovs.utils import OpenVocabError, is_positive

from ..layers import ViTBlock

_RESIDUALS = ('token', 'class', None)


@dataclass(frozen=True)
class LastBlockCfg:
    """What the last block does.

    Attributes:
        attention: ``'qk'`` (CLIP's own), ``'identity'`` (every token keeps its own
            value) or names of projections that are compared with themselves, any of
            'q', 'k', 'v'. Their softmaxes are added: with ``('q', 'k')`` the weights of
            a token sum to 2.
        neighbourhood_std: Standard deviation in patches of a Gaussian that is added to
            the attention logits of patches; its highest value is 1. None: no Gaussian.
        residual: What the attention's output is added to: the 'token' itself, the
            'class' token for all tokens, or None: nothing.
        feed_forward: Whether the feed-forward network (with its residual) follows.

    Raises:
        ValueError: A value is unknown, or two contradict each other.
    """

    attention: str | tuple[str, ...] = 'qk'
    neighbourhood_std: float | None = None
    residual: str | None = 'token'
    feed_forward: bool = True

    def __post_init__(self) -> None:
        parts = self.attention
        if isinstance(parts, list | tuple):
            object.__setattr__(self, 'attention', tuple(parts))
            known = parts and set(parts) <= set('qkv') and len({*parts}) == len(parts)
        else:
            known = parts in ('qk', 'identity')
        if not known:
            raise OpenVocabError(
                "last_block.attention has to be 'qk', 'identity' or names of 'q', 'k', "
                f"'v', each once, such as ('q', 'k'): {self.attention!r}"
            )
        if self.residual not in _RESIDUALS:
            raise OpenVocabError(
                f'last_block.residual has to be one of {_RESIDUALS}: {self.residual!r}'
            )
        if not isinstance(self.feed_forward, bool):
            raise OpenVocabError(
                f'last_block.feed_forward has to be a bool: {self.feed_forward!r}'
            )
        if self.neighbourhood_std is not None:
            if self.attention == 'identity':
                raise OpenVocabError(
                    "last_block.neighbourhood_std widens attention, and attention='"
                    "identity' leaves a token alone: give one of them"
                )
            if not is_positive(self.neighbourhood_std):
                raise OpenVocabError(
                    'last_block.neighbourhood_std has to be positive, in patches: '
                    f'{self.neighbourhood_std!r}'
                )

    @classmethod
    def read(cls, cfg: str | Mapping[str, Any] | None) -> LastBlockCfg:
        """The options of a preset's name or of a dict; None: CLIP as it is.

        A dict may name a ``preset``, whose options hold where it says nothing; without
        one, what is left out is as in CLIP.

        Raises:
            ValueError: The preset or an option is unknown, or a value does not fit.
        """
        if cfg is None:
            return cls()
        if not isinstance(cfg, Mapping):
            return cls._preset(cfg)
        options = dict(cfg)
        preset = options.pop('preset', None)
        for key in options:
            if key not in _OPTIONS:
                close = difflib.get_close_matches(str(key), _OPTIONS, n=1)
                hint = f' Did you mean {close[0]!r}?' if close else ''
                raise OpenVocabError(
                    f'last_block has no option {key!r}.{hint} Known are preset, '
                    f'{", ".join(_OPTIONS)}'
                )
        base = cls() if preset is None else cls._preset(preset)
        return replace(base, **options)

    @staticmethod
    def _preset(name: Any) -> LastBlockCfg:
        if not isinstance(name, str) or name not in PRESETS:
            raise OpenVocabError(
                f'last_block {name!r} is no preset; known are {sorted(PRESETS)}, or '
                f'give a dict of preset, {", ".join(_OPTIONS)}'
            )
        return PRESETS[name]


_OPTIONS = [field.name for field in fields(LastBlockCfg)]
PRESETS = {
    'maskclip': LastBlockCfg('identity'),
    'catseg': LastBlockCfg('identity', residual='class'),
    'sclip': LastBlockCfg(('q', 'k')),
    'naclip': LastBlockCfg(('k',), 5.0, residual=None, feed_forward=False),
    'clearclip': LastBlockCfg(('q',), residual=None, feed_forward=False),
}


class LastBlock(ViTBlock):
    """The last block of CLIP's image tower, as :class:`LastBlockCfg` says.

    Args:
        cfg: The options.
        *args, **kwargs: See :class:`ViTBlock`. The weights are those of CLIP whatever
            the options use of them, so that its files load.
    """

    def __init__(self, cfg: LastBlockCfg, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.cfg = cfg
        if not cfg.feed_forward:  # DDP waits for the gradient of what is trained
            self.norm2.requires_grad_(False)
            self.mlp.requires_grad_(False)

    def forward(
        self,
        x: Tensor,
        rope: None = None,
        cls_attention_from: None = None,
        grid: tuple[int, int] | None = None,
        with_norm2: bool = False,
    ) -> tuple[Tensor | None, ...]:
        """As :class:`ViTBlock` for (B, 1 + patches, dims), without class attention."""
        out = self.drop_path(self.attn.proj(self._attend(self.norm1(x), grid)))
        if self.cfg.residual is not None:
            out = out + (x if self.cfg.residual == 'token' else x[:, :1])
        normed = self.norm2(out) if self.cfg.feed_forward or with_norm2 else None
        if self.cfg.feed_forward:
            out = out + self.drop_path(self.mlp(normed))
        return (out, None, normed) if with_norm2 else (out, None)

    def _attend(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Normed tokens to attended values, before the output projection."""
        if self.cfg.attention == 'identity':
            return self.value(x)
        batch, tokens, dims = x.shape
        qkv = self.attn.qkv(x).view(batch, tokens, 3, self.attn.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        pairs = [(q, k)]
        if self.cfg.attention != 'qk':
            named = dict(q=q, k=k, v=v)
            pairs = [(named[name], named[name]) for name in self.cfg.attention]
        bias = self._neighbourhood(grid, x)
        out = sum(
            F.scaled_dot_product_attention(left, right, v, attn_mask=bias)
            for left, right in pairs
        )
        return out.transpose(1, 2).reshape(batch, tokens, dims)

    def value(self, x: Tensor) -> Tensor:
        """Values of normed tokens (B, N, dims), heads side by side."""
        qkv = self.attn.qkv
        dims = qkv.in_features
        return F.linear(x, qkv.weight[2 * dims :], qkv.bias[2 * dims :])

    def _neighbourhood(self, grid: tuple[int, int], x: Tensor) -> Tensor | None:
        """What is added to the attention logits (1 + patches, 1 + patches).

        The class token is a key and a query like the others; its entries are 0.
        """
        if self.cfg.neighbourhood_std is None:
            return None
        weights = [
            _gaussian(side, self.cfg.neighbourhood_std, x.device) for side in grid
        ]
        patches = torch.kron(*weights)  # of rows times of columns
        return F.pad(patches, (1, 0, 1, 0)).to(x.dtype)


def _gaussian(side: int, std: float, device: torch.device) -> Tensor:
    """exp(-(i - j)^2 / (2 std^2)) of all places i and j of a side: (side, side)."""
    places = torch.arange(side, device=device, dtype=torch.float32)
    return (-(places[:, None] - places).square() / (2 * std**2)).exp()
