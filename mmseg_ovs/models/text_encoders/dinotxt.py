"""The text tower of dino.txt.

Source: Jose et al., "DINOv2 Meets Text" (arXiv 2412.16334); facebookresearch/dinov2,
dinov2/hub/text/, and facebookresearch/dinov3, dinov3/eval/text/ (text_tower.py,
text_transformer.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import Linear, Mlp, ViTBlock
from ..utils import Trainable
from .shared_prefix import PrefixSelfAttention
from .tower import TextTower, TowerTextEncoder, length_to_highest_id

PARTS = ('class', 'patch', 'both')

_RENAMES = [
    (r'^backbone\.', ''),
    (r'^head\.linear_projection\.', 'projection.'),
    (r'\.attention_norm\.', '.norm1.'),
    (r'\.attention\.', '.attn.'),
    (r'\.ffn_norm\.', '.norm2.'),
    (r'\.feed_forward\.', '.mlp.'),
]


class DinoTxtTextTower(TextTower):
    """Causal transformer over CLIP's tokens, read at the end-of-text token.

    Args:
        embed_dims: Width D of a half of the text vector.
        width: Channels of the transformer.
        depth: Number of blocks.
        num_heads: Attention heads.
        context_length: Longest text in tokens.
        vocab_size: Number of token ids.
        part: See :class:`DinoTxtTextEncoder`.

    Raises:
        ValueError: If the part is unknown.
    """

    shares = True

    def __init__(
        self,
        embed_dims: int,
        width: int,
        depth: int,
        num_heads: int,
        context_length: int,
        vocab_size: int,
        part: str,
    ) -> None:
        super().__init__()
        if part not in PARTS:
            raise ValueError(f'part must be one of {PARTS}, not {part!r}.')
        self.part = part
        self.description = dict(kind='dino.txt', num_heads=num_heads, part=part)
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        self.blocks = nn.ModuleList(
            ViTBlock(
                width,
                PrefixSelfAttention(width, num_heads, qkv_bias=False, causal=True),
                Mlp(width, 4 * width),
                norm_eps=1e-5,
                layer_scale=None,
            )
            for _ in range(depth)
        )
        self.ln_final = nn.LayerNorm(width, eps=1e-5)
        self.projection = Linear(width, 2 * embed_dims, bias=False)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)

    def forward(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Embed tokens (n, length), padded or cut: (n, D), or (n, 2 D) for 'both'.

        ``start`` is the place of the first one.
        """
        x = self.token_features(tokens, start)
        end = self.used_lengths(tokens) - 1
        x = self.projection(x[torch.arange(len(x), device=x.device), end])
        if self.part == 'both':
            return x
        return x.chunk(2, dim=-1)[PARTS.index(self.part)]

    def _embed_at(self, tokens: Tensor, start: int) -> Tensor:
        return self(tokens, start)

    def token_features(self, tokens: Tensor, start: int = 0) -> Tensor:
        """All tokens (n, length) after the final norm: (n, length, width)."""
        x = self.token_embedding(tokens)
        x = x + self.positional_embedding[start : start + tokens.shape[1]]
        for block in self.blocks:
            x, _ = block(x)
        return self.ln_final(x)

    def used_lengths(self, tokens: Tensor) -> Tensor:
        """Number of tokens up to the end of each text, LongTensor (n,)."""
        return length_to_highest_id(tokens)

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The published names, below ``text_model``, to ours."""
        renamed = {}
        for key, value in state.items():
            for pattern, replacement in _RENAMES:
                key = re.sub(pattern, replacement, key)
            renamed[key] = value
        return renamed


@MODELS.register_module()
class DinoTxtTextEncoder(TowerTextEncoder):
    """dino.txt's text tower with CLIP's tokenizer, of the published size by default.

    The first half of dino.txt's text vector is aligned with the class token, the second
    with the patches of :class:`~mmseg_ovs.models.necks.DinoTxtVisionHead`.

    Published weights load through ``init_cfg=dict(type='Pretrained', checkpoint=...)``:
    DINOv2's text encoder file as it is, DINOv3's file with ``prefix='text_model'``.

    Args:
        part: Which half an embedding is: 'patch', 'class', or 'both', one after the
            other. Templates are averaged after that choice, so that 'normalized' takes
            the unit vector of a half, or of both together.
        embed_dims: Width D of a half.
        width: Channels of the transformer.
        depth: Number of blocks.
        num_heads: Attention heads.
        context_length: Longest text in tokens; longer ones are cut.
        templates, template_average, trainable, chunk_size, cache_dir, vocabulary: See
            :class:`TowerTextEncoder`.
        init_cfg: Initialisation.

    Raises:
        ValueError: If an argument is not one of its values.
    """

    def __init__(
        self,
        part: str = 'patch',
        embed_dims: int = 1024,
        width: int = 1280,
        depth: int = 24,
        num_heads: int = 20,
        context_length: int = 77,
        templates: str | Sequence[str] = 'imagenet',
        template_average: str = 'normalized',
        trainable: Trainable = False,
        chunk_size: int = 32,
        cache_dir: str | os.PathLike | None = None,
        vocabulary: Any = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        import open_clip  # takes seconds, and models without a tower do not need it

        tokenizer = open_clip.SimpleTokenizer(context_length=context_length)
        if init_cfg is None:
            init_cfg = dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0)
        super().__init__(
            DinoTxtTextTower(
                embed_dims,
                width,
                depth,
                num_heads,
                context_length,
                tokenizer.vocab_size,
                part,
            ),
            tokenizer,
            2 * embed_dims if part == 'both' else embed_dims,
            templates=templates,
            template_average=template_average,
            trainable=trainable,
            chunk_size=chunk_size,
            cache_dir=cache_dir,
            vocabulary=vocabulary,
            init_cfg=init_cfg,
        )

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The published names, below ``text_model``, to ours; ours stay."""
        state = {k.removeprefix('tower.'): v for k, v in state.items()}
        state = self.tower.convert_state_dict(state)
        return {f'tower.{k}': v for k, v in state.items()}
