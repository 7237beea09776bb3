"""The vision head of dino.txt: two blocks that align a frozen DINO with text.

Source: Jose et al., "DINOv2 Meets Text" (arXiv 2412.16334); facebookresearch/dinov2,
dinov2/hub/text/vision_tower.py, and facebookresearch/dinov3,
dinov3/eval/text/vision_tower.py.
"""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures

from ..layers import SelfAttention, SwiGLU, ViTBlock, swiglu_hidden_dims
from ..utils import PretrainedModule, Trainable, set_trainable
from .base import FeatureNeck

_NEEDED = ('cls_token', 'registers')


@MODELS.register_module()
class DinoTxtVisionHead(PretrainedModule, FeatureNeck):
    """Transformer blocks over class token, registers and patches of a backbone.

    The blocks see no positions. Their class token meets the first half of dino.txt's
    text vector, their patches the second. The backbone hands on its last block after
    the final norm, with ``extra_outputs=('cls_token', 'registers')``.

    Published weights load through ``init_cfg=dict(type='Pretrained', checkpoint=...)``:
    DINOv2's vision head file as it is, DINOv3's file with
    ``prefix='visual_model.head'``.

    Args:
        embed_dims: Channels C of the backbone.
        num_heads: Attention heads, those of the backbone.
        num_blocks: Blocks (2 as published).
        trainable: What is trained, see :func:`set_trainable`.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        embed_dims: int = 1024,
        num_heads: int = 16,
        num_blocks: int = 2,
        trainable: Trainable = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0)
        super().__init__(init_cfg)
        hidden = swiglu_hidden_dims(embed_dims, ratio=4, align=64)
        self.blocks = nn.ModuleList(
            ViTBlock(
                embed_dims,
                SelfAttention(embed_dims, num_heads, qkv_bias=False),
                SwiGLU(embed_dims, hidden),
                norm_eps=1e-5,
                layer_scale=1e-5,
            )
            for _ in range(num_blocks)
        )
        self.ln_final = nn.LayerNorm(embed_dims, eps=1e-5)
        set_trainable(self, trainable)

    def forward(self, features: VisualFeatures) -> VisualFeatures:
        """Replace the last map, the class token and the registers by the head's.

        Args:
            features: Last map (B, C, h, w), class token (B, C), registers (B, R, C).

        Returns:
            The same with other values; maps before the last stay as they are.

        Raises:
            ValueError: The backbone did not hand on its class token and registers.
        """
        missing = [name for name in _NEEDED if getattr(features, name) is None]
        if missing:
            raise ValueError(
                f'DinoTxtVisionHead needs {" and ".join(missing)} of the backbone: '
                f'build it with extra_outputs={_NEEDED}'
            )
        last = features.maps[-1]
        patches = last.flatten(2).transpose(1, 2)
        tokens = [features.cls_token[:, None], features.registers, patches]
        first_patch = 1 + features.registers.shape[1]
        tokens = torch.cat(tokens, dim=1)
        for block in self.blocks:
            tokens, _ = block(tokens)
        tokens = self.ln_final(tokens)
        patches = tokens[:, first_patch:].transpose(1, 2).reshape(last.shape)
        return features._replace(
            maps=(*features.maps[:-1], patches),
            cls_token=tokens[:, 0],
            registers=tokens[:, 1:first_patch],
        )

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """DINOv2's or DINOv3's names of the blocks to ours (DINOv3's)."""
        return {k.replace('block_list.', 'blocks.', 1): v for k, v in state.items()}
