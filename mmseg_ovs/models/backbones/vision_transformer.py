"""The one ViT trunk under DINOv2 and DINOv3.

Keys follow facebookresearch/dinov2 and facebookresearch/dinov3
(``models/vision_transformer.py``). What differs between the two families (position
embedding, register names, feed-forward) is given to the trunk by its subclasses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.utils.checkpoint as cp
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures

from ..layers import SelfAttention, ViTBlock
from ..utils import PretrainedModule, Trainable, set_trainable
from .common import (
    check_fit,
    check_frozen_stages,
    fit_to_patches,
    resolve_out_indices,
)

PROJECTIONS = ('query', 'key', 'value')
EXTRA_OUTPUTS = ('cls_token', 'registers', 'cls_attention')


class PatchEmbed(nn.Module):
    """Non-overlapping patches to tokens. (B, 3, H, W) -> (B, dims, H / p, W / p)."""

    def __init__(self, dims: int, patch_size: int, bias: bool = True) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dims, patch_size, stride=patch_size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class VisionTransformer(PretrainedModule):
    """Plain ViT that returns feature maps as MMSegmentation's backbones do.

    Args:
        embed_dims: Channels.
        depth: Number of blocks.
        num_heads: Attention heads.
        patch_size: Side of a patch in pixels.
        feed_forward: Builds one block's feed-forward network.
        num_registers: Register (storage) tokens.
        norm_eps: Epsilon of every LayerNorm.
        layer_scale: Initial LayerScale, None for none.
        qkv_bias: Whether q, k and v have a bias.
        mask_key_bias: Keep the key bias at zero.
        patch_bias: Whether the patch convolution has a bias.
        last_block: Builds the last block in place of :class:`ViTBlock`.
        out_indices: Blocks (0-based, negative from the end) whose output is returned.
        final_norm: Apply the final LayerNorm to every output, as Meta's
            ``get_intermediate_layers(norm=True)`` does. ``'norm2'`` takes instead of a
            block's output that of its second norm, which sees the tokens after the
            block's attention; ``'query'``, ``'key'`` and ``'value'`` those of the
            attention, heads side by side, before any rotary embedding. One value for
            each of ``out_indices`` chooses by output; an index may then stand there
            twice.
        extra_outputs: Any of 'cls_token', 'registers', 'cls_attention'. If not empty
            the result is a :class:`VisualFeatures` instead of a tuple of maps.
        fit: What happens to sides that are no multiple of the patch: 'pad', 'resize',
            'crop' or 'error', see :func:`fit_to_patches`.
        frozen_stages: -1 freezes nothing, 0 the embeddings, k the first k blocks too;
            with all blocks frozen the final norm is frozen as well.
        trainable: What of the rest is trained, see :func:`set_trainable`. False freezes
            the whole trunk, which then is always in evaluation mode.
        drop_path_rate: Stochastic depth of the last block; grows linearly from 0.
        with_cp: Recompute activations in the backward pass to save memory.
        init_cfg: Initialisation; ``dict(type='Pretrained', checkpoint=...)`` loads
            published weights strictly.
    """

    register_name = 'register_tokens'

    def __init__(
        self,
        embed_dims: int,
        depth: int,
        num_heads: int,
        patch_size: int,
        feed_forward: Callable[[], nn.Module],
        num_registers: int = 0,
        norm_eps: float = 1e-6,
        layer_scale: float | None = 1e-5,
        qkv_bias: bool = True,
        mask_key_bias: bool = False,
        patch_bias: bool = True,
        last_block: Callable[..., ViTBlock] | None = None,
        out_indices: int | Sequence[int] = -1,
        final_norm: bool | str | Sequence[bool | str] = True,
        extra_outputs: Sequence[str] = (),
        fit: str = 'pad',
        frozen_stages: int = -1,
        trainable: Trainable = True,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = [dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0)]
        super().__init__(init_cfg)
        unknown = set(extra_outputs) - set(EXTRA_OUTPUTS)
        if unknown:
            raise ValueError(
                f'Unknown extra_outputs {sorted(unknown)}; known: {EXTRA_OUTPUTS}'
            )
        self.embed_dims = embed_dims
        self.depth = depth
        self.num_heads = num_heads
        self.patch_size = patch_size
        self.num_registers = num_registers
        self.out_indices = resolve_out_indices(out_indices, depth)
        if not self.out_indices:
            raise ValueError('out_indices are empty: name at least one block')
        self.extra_outputs = tuple(extra_outputs)
        self.final_norm = final_norm
        self._norm_flags()
        self.fit = check_fit(fit)
        self.with_cp = with_cp
        self.frozen_stages = check_frozen_stages(frozen_stages, depth)
        self.trainable = trainable

        self.patch_embed = PatchEmbed(embed_dims, patch_size, patch_bias)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        nn.init.normal_(self.cls_token, std=0.02)
        if num_registers:
            registers = nn.Parameter(torch.zeros(1, num_registers, embed_dims))
            nn.init.normal_(registers, std=0.02)
            self.register_parameter(self.register_name, registers)
        rates = [drop_path_rate * i / max(depth - 1, 1) for i in range(depth)]
        self.blocks = nn.ModuleList(
            (last_block if last_block and i == depth - 1 else ViTBlock)(
                embed_dims,
                SelfAttention(embed_dims, num_heads, qkv_bias, mask_key_bias),
                feed_forward(),
                norm_eps,
                layer_scale,
                rates[i],
            )
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dims, eps=norm_eps)

    def _norm_flags(self) -> tuple[bool | str, ...]:
        """Whether each of ``out_indices`` goes through the final norm, or 'norm2'."""
        if isinstance(self.final_norm, bool | str):
            flags = (self.final_norm,) * len(self.out_indices)
        else:
            flags = tuple(self.final_norm)
        if any(flag not in (True, False, 'norm2', *PROJECTIONS) for flag in flags):
            raise ValueError(
                f"final_norm takes True, False, 'norm2' or one of {PROJECTIONS}, not "
                f'{self.final_norm!r}'
            )
        if len(flags) != len(self.out_indices):
            raise ValueError(
                f'final_norm has {len(flags)} values for '
                f'{len(self.out_indices)} out_indices: give one for each, or one bool'
            )
        return flags

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the first patch: the class token and the registers."""
        return 1 + self.num_registers

    def position_tokens(self, grid: tuple[int, int]) -> Tensor | None:
        """Additive positions (1, 1 + patches, C) of class and patches, or None."""
        return None

    def rope(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
        """Rotary tables for all tokens, or None."""
        return None

    def norm_tokens(self, tokens: Tensor) -> Tensor:
        """Final norm of all tokens (B, N, C)."""
        return self.norm(tokens)

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Image (B, 3, H, W) to tokens (B, 1 + registers + patches, C) and the grid."""
        patches = self.patch_embed(fit_to_patches(x, self.patch_size, self.fit))
        grid = patches.shape[-2:]
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), tokens], dim=1)
        positions = self.position_tokens(grid)
        if positions is not None:
            tokens = tokens + positions
        if self.num_registers:  # registers have no position
            registers = getattr(self, self.register_name).expand(x.shape[0], -1, -1)
            tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
        return tokens, tuple(grid)

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | VisualFeatures:
        """Extract features.

        Args:
            x: Normalised RGB images (B, 3, H, W).

        Returns:
            A tuple of maps (B, C, h, w), one for each of ``out_indices``; with
            ``extra_outputs`` a :class:`VisualFeatures`.
        """
        tokens, grid = self.embed(x)
        rope = self.rope(grid)
        prefix = self.num_prefix_tokens
        last = max(self.out_indices)
        wanted_outputs = list(zip(self.out_indices, self._norm_flags(), strict=True))
        outputs, cls_attention = {}, None
        for i, block in enumerate(self.blocks[: last + 1]):
            wanted = i == last and 'cls_attention' in self.extra_outputs
            with_norm2 = (i, 'norm2') in wanted_outputs
            for kind in PROJECTIONS:
                if (i, kind) in wanted_outputs:
                    outputs[i, kind] = block.project(tokens, PROJECTIONS.index(kind))
            args = (tokens, rope, prefix if wanted else None, grid, with_norm2)
            if self.with_cp and self.training:
                out = cp.checkpoint(block, *args, use_reentrant=False)
            else:
                out = block(*args)
            tokens, cls_attention = out[:2]
            for key in wanted_outputs:
                if key == (i, True):
                    outputs[key] = self.norm_tokens(tokens)
                elif key == (i, False):
                    outputs[key] = tokens
                elif key == (i, 'norm2'):
                    outputs[key] = out[2]
        maps = tuple(
            outputs[key][:, prefix:].transpose(1, 2).unflatten(2, grid).contiguous()
            for key in wanted_outputs
        )
        if not self.extra_outputs:
            return maps
        # of the last block, after the final norm if it is returned in several ways
        of_last = max(wanted_outputs, key=lambda key: (key[0], key[1] is True))
        out, extras = outputs[of_last], self.extra_outputs
        return VisualFeatures(
            maps,
            out[:, 0] if 'cls_token' in extras else None,
            out[:, 1:prefix] if 'registers' in extras else None,
            None if cls_attention is None else cls_attention.unflatten(2, grid),
        )

    def _frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        if self.frozen_stages < 0:
            return []
        blocks = self.blocks[: self.frozen_stages]
        own = [p for _, p in self.named_parameters(recurse=False)]
        norms = [self.norm] if self.frozen_stages == self.depth else []
        return [self.patch_embed, *own, *blocks, *norms]

    def freeze(self) -> None:
        """Freeze what is not trained; called at the end of a constructor."""
        self.train(self.training)
        set_trainable(self, self.trainable)

    def train(self, mode: bool = True) -> VisionTransformer:
        """Set the mode; frozen parts stay in eval mode and need no gradient."""
        super().train(mode and self.trainable is not False)
        for part in self._frozen_parts():
            part.requires_grad_(False)
            if isinstance(part, nn.Module):
                part.eval()
        return self
