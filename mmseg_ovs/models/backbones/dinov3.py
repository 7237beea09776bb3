"""DINOv3 backbone.

Source: Simeoni et al., "DINOv3" (arXiv 2508.10104); facebookresearch/dinov3,
hub/backbones.py. Our code is Apache-2.0; the published *weights* come under the DINOv3
License and are gated.
"""

from __future__ import annotations

from functools import partial

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import AxialRoPE, Mlp, SwiGLU, swiglu_hidden_dims
from .common import resolve_arch
from .layouts import dinov3_state_dict
from .vision_transformer import VisionTransformer

# mlp_ratio and align follow hub/backbones.py; only the 7B form has no q, k, v bias.
ARCHS = {
    'small': dict(embed_dims=384, depth=12, num_heads=6, feed_forward='mlp'),
    'small_plus': dict(
        embed_dims=384, depth=12, num_heads=6, feed_forward='swiglu', mlp_ratio=6
    ),
    'base': dict(embed_dims=768, depth=12, num_heads=12, feed_forward='mlp'),
    'large': dict(embed_dims=1024, depth=24, num_heads=16, feed_forward='mlp'),
    'large_plus': dict(
        embed_dims=1024, depth=24, num_heads=16, feed_forward='swiglu', mlp_ratio=6
    ),
    'huge_plus': dict(
        embed_dims=1280, depth=32, num_heads=20, feed_forward='swiglu', mlp_ratio=6
    ),
    '7b': dict(
        embed_dims=4096,
        depth=40,
        num_heads=32,
        feed_forward='swiglu',
        mlp_ratio=3,
        swiglu_align=64,
        qkv_bias=False,
    ),
}


@MODELS.register_module()
class DINOv3(VisionTransformer):
    """DINOv3 ViT with axial rotary positions and storage tokens.

    Published weights in Meta's, timm's and Hugging Face's layouts load through
    ``init_cfg=dict(type='Pretrained', checkpoint=...)``.

    Args:
        arch: 'small', 'small_plus', 'base', 'large', 'large_plus', 'huge_plus', '7b',
            or a dict with ``embed_dims``, ``depth``, ``num_heads``, ``feed_forward``
            ('mlp' or 'swiglu') and, if they differ from 4, 8 and True, ``mlp_ratio``,
            ``swiglu_align`` and ``qkv_bias``.
        num_registers: Storage tokens (4 as published).
        patch_size: Side of a patch in pixels.
        layer_scale: Initial LayerScale; None leaves it out.
        norm_eps: Epsilon of every LayerNorm (1e-5 as published).
        mask_key_bias: Keep the key bias at zero, as published.
        rope_base: Base of the rotary periods.
        rope_normalize_coords: See :class:`AxialRoPE`.
        untie_norms: Separate final norms for patches and for class and storage tokens
            (no published model).
        **kwargs: See :class:`VisionTransformer`.
    """

    register_name = 'storage_tokens'

    def __init__(
        self,
        arch: str | dict = 'base',
        num_registers: int = 4,
        patch_size: int = 16,
        layer_scale: float | None = 1e-5,
        norm_eps: float = 1e-5,
        mask_key_bias: bool = True,
        rope_base: float = 100.0,
        rope_normalize_coords: str = 'separate',
        untie_norms: bool = False,
        **kwargs,
    ) -> None:
        spec = resolve_arch(arch, ARCHS)
        dims, ratio = spec['embed_dims'], spec.pop('mlp_ratio', 4)
        align = spec.pop('swiglu_align', 8)
        if spec.pop('feed_forward') == 'swiglu':
            hidden = swiglu_hidden_dims(dims, ratio, align)
            feed_forward = partial(SwiGLU, dims, hidden)
        else:
            feed_forward = partial(Mlp, dims, int(dims * ratio))
        super().__init__(
            **spec,
            patch_size=patch_size,
            feed_forward=feed_forward,
            num_registers=num_registers,
            norm_eps=norm_eps,
            layer_scale=layer_scale,
            mask_key_bias=mask_key_bias,
            **kwargs,
        )
        self.rope_embed = AxialRoPE(
            dims // self.num_heads, rope_base, rope_normalize_coords
        )
        self.cls_norm = nn.LayerNorm(dims, eps=norm_eps) if untie_norms else None
        self.freeze()

    def rope(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Rotary tables (tokens, head_dims) for the class, storage and patch tokens."""
        return self.rope_embed(*grid, num_prefix=self.num_prefix_tokens)

    def norm_tokens(self, tokens: Tensor) -> Tensor:
        """Final norm; class and storage tokens have their own if untied."""
        if self.cls_norm is None:
            return self.norm(tokens)
        prefix = self.num_prefix_tokens
        parts = [self.cls_norm(tokens[:, :prefix]), self.norm(tokens[:, prefix:])]
        return torch.cat(parts, dim=1)

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Meta's, timm's or Hugging Face's layout to our keys (Meta's)."""
        return dinov3_state_dict(
            state,
            periods=self.rope_embed.formula_periods(),
            qkv_bias=self.blocks[0].attn.qkv.bias is not None,
        )
