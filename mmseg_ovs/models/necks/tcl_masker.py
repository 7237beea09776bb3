"""TCL's masker: CLIP's last block, trained again, and a decoder that upsamples by four.

Source: Cha et al., "Learning to Generate Text-grounded Mask for Open-world Semantic
Segmentation from Only Image-Text Pairs" (CVPR 2023, arXiv 2212.00785); authors' code:
kakaobrain/tcl, models/tcl/masker.py, decoders.py and modules.py. CoDe's (CVPR 2024,
072jiajia/Image-Text-Co-Decomposition) has single convolutions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..backbones.clip import rename_blocks
from ..backbones.clip_last_block import PRESETS, LastBlock
from ..layers import QuickGELUMlp, SelfAttention
from ..utils import PretrainedModule

_RENAMES = [
    (r'^backbone\.transformer\.resblocks\.\d+\.', 'block.'),
    (r'^decoder\.decoder\.net\.', 'decoder.'),
    (r'\.gate\.gate$', '.gate'),
    (r'^decoder\.image_proj\.ln\.', 'norm.'),
    (r'^decoder\.image_proj\.proj$', 'proj'),
]


class GatedConv(nn.Module):
    """tanh(g) * conv(gelu(LN(x))), with LN over channels: (B, C, h, w) -> same.

    The scalar g starts at 0, so that training starts without the convolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return self.gate.tanh() * self.conv(F.gelu(normed))


class GatedUpsampling(nn.Module):
    """Twice the size (nearest), then one or two residual :class:`GatedConv`."""

    def __init__(self, channels: int, double: bool) -> None:
        super().__init__()
        self.conv = GatedConv(channels)
        self.conv2 = GatedConv(channels) if double else None

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2)
        x = x + self.conv(x)
        return x if self.conv2 is None else x + self.conv2(x)


@MODELS.register_module()
class TCLMasker(PretrainedModule):
    """Features in the space of text, four times as fine as CLIP's patches.

    The map before CLIP's last block goes through a trained copy of that block in
    MaskCLIP's form (a patch keeps its own value), the decoder, and copies of CLIP's
    final norm and projection. A backbone with ``out_indices=(10, 11),
    final_norm=(False, True), last_block='maskclip'`` gives that map and MaskCLIP's.

    Args:
        in_channels: Channels of the map, CLIP's width.
        out_channels: Channels of the result, CLIP's width of text.
        in_index: Which of the maps it is.
        num_blocks: Blocks of the decoder, each of which doubles the size.
        double: Two convolutions a block (TCL), or one (CoDe).
        init_cfg: Initialisation; ``dict(type='Pretrained', checkpoint=...,
            prefix='masker.image_encoder')`` loads the part of the authors' file.
    """

    def __init__(
        self,
        in_channels: int = 768,
        out_channels: int = 512,
        in_index: int = 0,
        num_blocks: int = 2,
        double: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.in_index = in_index
        self.block = LastBlock(
            PRESETS['maskclip'],
            in_channels,
            SelfAttention(in_channels, num_heads=1),  # values alone have no heads
            QuickGELUMlp(in_channels, 4 * in_channels),
            norm_eps=1e-5,
            layer_scale=None,
        )
        self.decoder = nn.Sequential(
            *(GatedUpsampling(in_channels, double) for _ in range(num_blocks))
        )
        self.norm = nn.LayerNorm(in_channels)
        self.proj = nn.Parameter(torch.empty(in_channels, out_channels))
        nn.init.normal_(self.proj, std=in_channels**-0.5)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Replace one map, and put the result last.

        Args:
            maps: Feature maps; that of ``in_index`` is (B, in_channels, h, w).

        Returns:
            The other maps as they are, then (B, out_channels, 4h, 4w) with two blocks.

        Raises:
            ValueError: The map has other channels.
        """
        others = list(maps)
        x = others.pop(self.in_index)
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f'TCLMasker takes the map before the last block of CLIP, with '
                f'{self.in_channels} channels, but map {self.in_index} has '
                f'{x.shape[1]}: build the backbone with out_indices=(10, 11) and '
                'final_norm=(False, True)'
            )
        tokens, _ = self.block(x.flatten(2).transpose(1, 2))
        x = self.decoder(tokens.transpose(1, 2).unflatten(2, x.shape[-2:]))
        x = self.norm(x.movedim(1, -1)) @ self.proj
        return (*others, x.movedim(-1, 1).contiguous())

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The authors' ``masker.image_encoder`` to our keys."""
        converted = {}
        for key, value in state.items():
            for pattern, replacement in _RENAMES:
                key = re.sub(pattern, replacement, key)
            converted[key] = value
        return rename_blocks(converted)
