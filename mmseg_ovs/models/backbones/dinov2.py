"""DINOv2 backbone, with and without registers.

Source: Oquab et al., "DINOv2" (arXiv 2304.07193); Darcet et al., "Vision Transformers
Need Registers" (arXiv 2309.16588); facebookresearch/dinov2, hub/backbones.py.
"""

from __future__ import annotations

from functools import partial

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import (
    Mlp,
    SwiGLUFused,
    interpolate_position_embedding,
    swiglu_hidden_dims,
)
from .common import resolve_arch
from .layouts import dinov2_state_dict
from .vision_transformer import VisionTransformer

ARCHS = {
    'small': dict(embed_dims=384, depth=12, num_heads=6, feed_forward='mlp'),
    'base': dict(embed_dims=768, depth=12, num_heads=12, feed_forward='mlp'),
    'large': dict(embed_dims=1024, depth=24, num_heads=16, feed_forward='mlp'),
    'giant': dict(embed_dims=1536, depth=40, num_heads=24, feed_forward='swiglu'),
}


@MODELS.register_module()
class DINOv2(VisionTransformer):
    """DINOv2 ViT.

    Published weights in Meta's, timm's and Hugging Face's layouts load through
    ``init_cfg=dict(type='Pretrained', checkpoint=...)``.

    Args:
        arch: 'small', 'base', 'large', 'giant', or a dict with ``embed_dims``,
            ``depth``, ``num_heads`` and ``feed_forward`` ('mlp' or 'swiglu').
        num_registers: 4 for the published ``_reg`` models, else 0.
        img_size: Side in pixels of the native position grid (518 as published).
        patch_size: Side of a patch in pixels.
        mlp_ratio: Hidden width of the feed-forward network over its width.
        layer_scale: Initial LayerScale; None leaves it out.
        interpolate_offset: See :func:`interpolate_position_embedding`. By default as in
            the hub: 0.1 without registers, 0 with.
        interpolate_antialias: By default as in the hub: only with registers.
        **kwargs: See :class:`VisionTransformer` (``out_indices``, ``extra_outputs``,
            ``fit``, ``frozen_stages``, ``trainable``, ``drop_path_rate``,
            ``with_cp``, ``final_norm``, ``init_cfg``).
    """

    def __init__(
        self,
        arch: str | dict = 'base',
        num_registers: int = 0,
        img_size: int = 518,
        patch_size: int = 14,
        mlp_ratio: float = 4,
        layer_scale: float | None = 1e-5,
        interpolate_offset: float | None = None,
        interpolate_antialias: bool | None = None,
        **kwargs,
    ) -> None:
        spec = resolve_arch(arch, ARCHS)
        dims = spec['embed_dims']
        if spec.pop('feed_forward') == 'swiglu':
            hidden = swiglu_hidden_dims(dims, mlp_ratio, align=8)
            feed_forward = partial(SwiGLUFused, dims, hidden)
        else:
            feed_forward = partial(Mlp, dims, int(dims * mlp_ratio))
        super().__init__(
            **spec,
            patch_size=patch_size,
            feed_forward=feed_forward,
            num_registers=num_registers,
            norm_eps=1e-6,
            layer_scale=layer_scale,
            **kwargs,
        )
        if interpolate_offset is None:
            interpolate_offset = 0.0 if num_registers else 0.1
        if interpolate_antialias is None:
            interpolate_antialias = num_registers > 0
        self.interpolate_offset = interpolate_offset
        self.interpolate_antialias = interpolate_antialias
        num_positions = 1 + (img_size // patch_size) ** 2
        self.pos_embed = nn.Parameter(torch.zeros(1, num_positions, dims))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.freeze()

    def position_tokens(self, grid: tuple[int, int]) -> Tensor:
        """Positions (1, 1 + patches, C), interpolated to the grid as Meta does."""
        return interpolate_position_embedding(
            self.pos_embed,
            grid,
            offset=self.interpolate_offset,
            antialias=self.interpolate_antialias,
        )

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Meta's, timm's or Hugging Face's layout to our keys (Meta's)."""
        return dinov2_state_dict(state)
