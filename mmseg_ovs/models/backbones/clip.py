"""CLIP's image tower as a backbone, with any form of its last block.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision" (arXiv 2103.00020), openai/CLIP. Descriptions and weights of models come
from open_clip; the network is our ViT, because other last blocks, other image sizes
and maps of several blocks would need open_clip's internals.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import (
    Mlp,
    QuickGELUMlp,
    interpolate_position_embedding,
)
from ..utils import (
    is_self_contained,
    join_projections,
    load_pretrained,
    named_config,
    pretrained_clip,
)
from .clip_last_block import LastBlock, LastBlockCfg
from .vision_transformer import VisionTransformer

_REQUIRED = {'width', 'layers', 'patch_size', 'image_size'}
_VISION_KEYS = {*_REQUIRED, 'head_width', 'mlp_ratio'}
# What a whole CLIP has in addition to its image tower.
_TEXT = re.compile(
    r'^(transformer|token_embedding|ln_final|positional_embedding|text_projection|'
    r'text|logit_scale|logit_bias|input_resolution|context_length|vocab_size)(\.|$)'
)
_RENAMES = [
    (r'^class_embedding$', 'cls_token'),
    (r'^positional_embedding$', 'pos_embed'),
    (r'^conv1\.', 'patch_embed.proj.'),
    (r'^ln_pre\.', 'norm_pre.'),
    (r'^ln_post\.', 'norm.'),
    (r'^transformer\.resblocks\.', 'blocks.'),
    (r'\.ln_([12])\.', r'.norm\1.'),
    (r'\.attn\.in_proj_', '.attn.qkv.'),
    (r'\.attn\.out_proj\.', '.attn.proj.'),
    (r'\.mlp\.c_fc\.', '.mlp.fc1.'),
    (r'\.mlp\.c_proj\.', '.mlp.fc2.'),
]


@MODELS.register_module()
class OpenCLIPImageEncoder(VisionTransformer):
    """The plain ViT of any CLIP that open_clip knows.

    With ``final_norm`` (the default) a map goes through the final norm and the
    projection into the space of text, and so has ``out_channels``; without, it has
    ``embed_dims``. Images may have any size: positions are resized (bicubic).

    ``dict(out_indices=(3, 7, 11), final_norm=(False, False, True),
    last_block='catseg')`` are CAT-Seg's maps of ViT-B.

    Args:
        model: Name of an open_clip model, or a dict such as ``dict(embed_dim=512,
            vision_cfg=dict(width=768, layers=12, patch_size=16, image_size=224),
            quick_gelu=True)`` (``head_width`` is 64 and ``mlp_ratio`` 4 by default).
        pretrained: Weights of a named model, a tag of open_clip or a file, as for
            :class:`OpenCLIPTextEncoder`; loaded by :meth:`init_weights`.
        last_block: Form of the last block, which keeps patches in the space of text: a
            preset ('maskclip', 'sclip', 'naclip', 'clearclip', 'catseg') or a dict of
            options, see :class:`LastBlockCfg`. None: CLIP as it is, whose class token
            after the final norm is the image's embedding.
        position_offset: Added to the sides of the grid when positions are resized, see
            :func:`interpolate_position_embedding`. SCLIP and the methods on its code
            use 0.1, others 0.
        init_cfg: Initialisation; ``dict(type='Pretrained', checkpoint=...)`` takes
            files of open_clip's, OpenAI's or CAT-Seg's layout (``prefix`` names the
            CLIP in them) and loads the image tower strictly.
        **kwargs: See :class:`VisionTransformer` (``out_indices``, ``final_norm``,
            ``extra_outputs``, ``fit``, ``frozen_stages``, ``trainable``,
            ``drop_path_rate``, ``with_cp``).

    Raises:
        ValueError: The model is unknown, no plain ViT, or its description incomplete.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] = 'ViT-B-16-quickgelu',
        pretrained: str | os.PathLike | None = None,
        last_block: str | Mapping[str, Any] | None = None,
        position_offset: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        named = isinstance(model, str)
        config = named_config(model, pretrained) if named else dict(model)
        vision = _vision_cfg(model, config)
        if not named and pretrained is not None:
            raise ValueError(
                f'pretrained={pretrained!r} is for models with a name; load the '
                "weights of an own tower by init_cfg=dict(type='Pretrained', ...)"
            )
        options = LastBlockCfg.read(last_block)
        changed = options != LastBlockCfg()
        if changed and 'cls_attention' in kwargs.get('extra_outputs', ()):
            raise ValueError(
                "extra_outputs 'cls_attention' needs the attention of CLIP's own last "
                f'block, which last_block={last_block!r} replaces'
            )
        width, patch_size = vision['width'], vision['patch_size']
        feed_forward = QuickGELUMlp if config.get('quick_gelu') else Mlp
        super().__init__(
            embed_dims=width,
            depth=vision['layers'],
            num_heads=width // vision.get('head_width', 64),
            patch_size=patch_size,
            feed_forward=partial(
                feed_forward, width, int(width * vision.get('mlp_ratio', 4.0))
            ),
            norm_eps=1e-5,
            layer_scale=None,
            patch_bias=False,
            last_block=partial(LastBlock, options) if changed else None,
            init_cfg=init_cfg,
            **kwargs,
        )
        if changed and self.depth - 1 not in self.out_indices:
            raise ValueError(
                f'last_block={last_block!r} has no effect: out_indices '
                f'{self.out_indices} leave the last block ({self.depth - 1}) out'
            )
        self.model = model
        self.last_block = last_block
        self.position_offset = position_offset
        self.pretrained = None if pretrained is None else os.fspath(pretrained)
        self.brings_weights = pretrained is not None or (
            named and is_self_contained(model)
        )
        self.out_channels = config['embed_dim']
        positions = 1 + (vision['image_size'] // patch_size) ** 2
        self.pos_embed = nn.Parameter(torch.empty(1, positions, width))
        self.proj = nn.Parameter(torch.empty(width, self.out_channels))
        for parameter in (self.pos_embed, self.proj):
            nn.init.normal_(parameter, std=width**-0.5)
        self.norm_pre = nn.LayerNorm(width)
        self.freeze()

    def position_tokens(self, grid: tuple[int, int]) -> Tensor:
        """Positions (1, 1 + patches, C), resized to the grid."""
        return interpolate_position_embedding(
            self.pos_embed, grid, offset=self.position_offset, antialias=False
        )

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """As the trunk's, with CLIP's norm before the blocks."""
        tokens, grid = super().embed(x)
        return self.norm_pre(tokens), grid

    def norm_tokens(self, tokens: Tensor) -> Tensor:
        """Final norm and projection: (B, N, embed_dims) to (B, N, out_channels)."""
        return self.norm(tokens) @ self.proj

    def _frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        parts = super()._frozen_parts()
        return [*parts, self.norm_pre] if parts else parts

    def init_weights(self) -> None:
        """Load the pretrained weights, or what ``init_cfg`` says.

        Raises:
            CheckpointError: The weights are not available or do not fit.
        """
        if self.brings_weights:
            clip = pretrained_clip(self.model, self.pretrained)
            load_pretrained(self, clip.state_dict())
            self._is_init = True
        else:
            super().init_weights()

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The image tower of a CLIP (open_clip's, OpenAI's, CAT-Seg's layout)."""
        if 'cls_token' in state:
            return state
        if any(key.startswith('visual.') for key in state):
            state = {
                key.removeprefix('visual.'): value
                for key, value in state.items()
                if not _TEXT.match(key)
            }
        converted = rename_blocks(join_projections(state))
        for key in ('cls_token', 'pos_embed'):
            if key in converted:
                value = converted[key]
                converted[key] = value.reshape(1, -1, value.shape[-1])
        return converted


def rename_blocks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of OpenAI's names, of a tower or of blocks of it, under ours."""
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in _RENAMES:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed


def _vision_cfg(model: str | Mapping, config: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a plain ViT, or a ValueError."""
    vision = dict(config.get('vision_cfg', {}))
    missing = {'embed_dim', 'vision_cfg'} - set(config) or _REQUIRED - set(vision)
    unknown = set(vision) - _VISION_KEYS
    if not isinstance(vision.get('layers', 1), int):  # a ResNet's stages
        unknown.add('layers')
    if isinstance(model, str) and (missing or unknown):
        raise ValueError(
            f'The image tower of {model!r} is no plain ViT with a class token '
            f'({sorted(missing | unknown)}); OpenCLIPImageEncoder builds those only'
        )
    if missing or unknown:
        raise ValueError(
            'The description of an image tower has the keys embed_dim, vision_cfg '
            f'(with {sorted(_REQUIRED)} and perhaps head_width, mlp_ratio) and perhaps '
            f'quick_gelu; missing: {sorted(missing)}, unknown: {sorted(unknown)}'
        )
    return vision
