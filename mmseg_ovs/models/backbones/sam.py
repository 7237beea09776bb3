"""SAM's image encoder as a backbone, for images of any size.

Source: Kirillov et al., "Segment Anything" (arXiv 2304.02643);
facebookresearch/segment-anything, whose package does the work (``ImageEncoderViT``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
import torch.utils.checkpoint as cp
from mmseg.registry import MODELS
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from ..utils import PretrainedModule
from .common import (
    check_fit,
    check_frozen_stages,
    fit_to_patches,
    resolve_arch,
    resolve_out_indices,
)
from .sam_attention import FusedAttention, PlainAttention

# Names and numbers of segment_anything's sam_model_registry.
ARCHS = {
    'vit_b': dict(
        embed_dims=768, depth=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11)
    ),
    'vit_l': dict(
        embed_dims=1024, depth=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23)
    ),
    'vit_h': dict(
        embed_dims=1280, depth=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31)
    ),
}


@MODELS.register_module()
class SAMImageEncoder(ImageEncoderViT, PretrainedModule):
    """ViT with windowed and global attention, and SAM's convolutional neck.

    The published files (``sam_vit_b_01ec64.pth``, ...) load through
    ``init_cfg=dict(type='Pretrained', checkpoint=...)``; of the whole model in them the
    image encoder is taken.

    Square images of ``img_size`` give what the package gives, bit for bit. On any
    other grid the absolute positions are resampled (bicubic, as ViTDet does) and so
    are, by the package (linear), the tables of relative positions in blocks of global
    attention; windows keep their size and theirs.

    SAM's own protocol, longest side 1024 and zeros up to the square, is a matter of the
    config: ``dict(type='Resize', scale=(1024, 1024), keep_ratio=True,
    backend='pillow')`` in the pipelines, ``size=(1024, 1024)`` and
    ``test_cfg=dict(size=(1024, 1024))`` in a ``SegDataPreProcessor``, which pads after
    it has normalised. Mean and standard deviation are ImageNet's (RGB).

    The package's global attention holds three maps of heads x patches x patches values
    for each image, 2.3 GiB in float32 for ``vit_b`` at 1024 x 1024;
    ``fused_attention`` holds none.

    Args:
        arch: 'vit_b', 'vit_l', 'vit_h', or a dict with ``embed_dims``, ``depth``,
            ``num_heads``, ``global_attn_indexes`` (blocks without windows) and, if they
            differ from 4 and True, ``mlp_ratio`` and ``qkv_bias``.
        img_size: Side in pixels of the native position grid (1024 as published).
        patch_size: Side of a patch in pixels.
        window_size: Side of an attention window in patches.
        out_channels: Channels of the neck.
        out_indices: Blocks (0-based, negative from the end) whose output is returned,
            of ``embed_dims`` channels.
        neck_output: Whether the neck's output is returned, after the blocks'. Without
            it nothing behind the last of ``out_indices`` is computed.
        fit: What happens to sides that are no multiple of the patch: 'pad', 'resize',
            'crop' or 'error', see :func:`fit_to_patches`.
        frozen_stages: -1 freezes nothing, 0 the embeddings, k the first k blocks too;
            with all blocks frozen the neck is frozen as well.
        fused_attention: Compute global attention by a fused kernel: the same within
            float error, without those maps. See :class:`FusedAttention`.
        with_cp: Recompute activations in the backward pass to save memory.
        init_cfg: Initialisation; ``dict(type='Pretrained', checkpoint=...)`` loads
            published weights strictly.
    """

    # The package's class comes first: its constructor calls the next one without
    # arguments, which suits PretrainedModule.

    def __init__(
        self,
        arch: str | dict = 'vit_b',
        img_size: int = 1024,
        patch_size: int = 16,
        window_size: int = 14,
        out_channels: int = 256,
        out_indices: int | Sequence[int] = (),
        neck_output: bool = True,
        fit: str = 'pad',
        frozen_stages: int = -1,
        fused_attention: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        spec = resolve_arch(arch, ARCHS)
        depth, embed_dims = spec['depth'], spec.pop('embed_dims')
        out_indices = resolve_out_indices(out_indices, depth)
        if not out_indices and not neck_output:
            raise ValueError('Without neck_output, out_indices have to name a block')
        super().__init__(
            **spec,
            img_size=img_size,
            patch_size=patch_size,
            embed_dim=embed_dims,
            out_chans=out_channels,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=window_size,
        )
        for block in self.blocks:
            fused = fused_attention and not block.window_size
            block.attn = (FusedAttention if fused else PlainAttention)(
                embed_dims,
                block.attn.num_heads,
                qkv_bias=block.attn.qkv.bias is not None,
                use_rel_pos=True,
                input_size=(block.window_size or img_size // patch_size,) * 2,
            )
        self.init_cfg = init_cfg
        self.embed_dims = embed_dims
        self.depth = depth
        self.patch_size = patch_size
        self.out_channels = out_channels
        self.out_indices = out_indices
        self.neck_output = neck_output
        self.fit = check_fit(fit)
        self.frozen_stages = check_frozen_stages(frozen_stages, depth)
        self.with_cp = with_cp
        self.train(self.training)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Absolute positions (1, h, w, C); those of the native grid are untouched."""
        if self.pos_embed.shape[1:3] == grid:
            return self.pos_embed
        native = self.pos_embed.permute(0, 3, 1, 2).float()
        resampled = F.interpolate(native, size=grid, mode='bicubic')
        return resampled.permute(0, 2, 3, 1).to(self.pos_embed.dtype)

    def embed(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) to the tokens (B, h, w, C) of the first block."""
        tokens = self.patch_embed(fit_to_patches(x, self.patch_size, self.fit))
        return tokens + self.positions(tuple(tokens.shape[1:3]))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Extract features.

        Args:
            x: Normalised RGB images (B, 3, H, W).

        Returns:
            A map (B, C, h, w) for each of ``out_indices`` and, with ``neck_output``,
            the neck's (B, out_channels, h, w).
        """
        tokens = self.embed(x)
        count = self.depth if self.neck_output else max(self.out_indices) + 1
        maps = {}
        for i, block in enumerate(self.blocks[:count]):
            if self.with_cp and self.training:
                tokens = cp.checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
            if i in self.out_indices:
                maps[i] = tokens.permute(0, 3, 1, 2).contiguous()
        outputs = [maps[i] for i in self.out_indices]
        if self.neck_output:
            outputs.append(self.neck(tokens.permute(0, 3, 1, 2)))
        return tuple(outputs)

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The image encoder's part of a whole SAM, or the state as it is."""
        if not any(key.startswith('image_encoder.') for key in state):
            return state
        return {
            key.removeprefix('image_encoder.'): value
            for key, value in state.items()
            if not key.startswith(('prompt_encoder.', 'mask_decoder.'))
        }

    def train(self, mode: bool = True) -> SAMImageEncoder:
        """Set the mode; frozen parts stay in eval mode and need no gradient."""
        super().train(mode)
        if self.frozen_stages >= 0:
            self.pos_embed.requires_grad_(False)
            parts = [self.patch_embed, *self.blocks[: self.frozen_stages]]
            if self.frozen_stages == self.depth:
                parts.append(self.neck)
            for part in parts:
                part.requires_grad_(False).eval()
        return self
