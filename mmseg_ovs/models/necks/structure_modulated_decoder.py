"""OVS-DINO's decoder: structure brought back into DINO's own space.

Source: OVS-DINO, section 4.2, equations 13-14. No code was published; what the paper
leaves open is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

SCALES = ('scalar', 'channel')


@MODELS.register_module()
class StructureModulatedDecoder(BaseModule):
    """``F_out = F_L + gamma * (F_L * gate(M))``, with M compressed from structure.

    The gate is bounded: with gamma at 1, its start, a feature is multiplied by 0 to 2.
    With gamma at 0 the model would start as plain DINO, and the first step would give
    the encoder and the gate no gradient.

    Args:
        in_channels: Channels of the structure map: those of SAM's neck.
        channels: Channels of DINO's output, and of the result.
        stride: Stride of the depthwise downsampling.
        gate: Config of the preservation gate. None leaves it and DINO's own features
            out: the result is the modulation map (the ablation 'w/o PG', and 'w/o
            encoder', where no map of DINO is given).
        gamma: One learnable factor ('scalar') or one a channel ('channel').
        gamma_init: Its initial value.
        norm_cfg: Norm.
        act_cfg: Activation.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        in_channels: int = 256,
        channels: int = 768,
        stride: int = 2,
        gate: dict | None = None,
        gamma: str = 'scalar',
        gamma_init: float = 1.0,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if gamma not in SCALES:
            raise ValueError(f'gamma has to be one of {SCALES}, got {gamma!r}')
        self.compress = nn.Sequential(
            ConvModule(
                in_channels,
                in_channels,
                3,
                stride=stride,
                padding=1,
                groups=in_channels,
                norm_cfg=norm_cfg or dict(type='GN', num_groups=32),
                act_cfg=act_cfg or dict(type='GELU'),
            ),
            nn.Conv2d(in_channels, channels, 1),
        )
        self.gate = self.gamma = None
        if gate is not None:
            self.gate = MODELS.build(dict(gate, channels=channels))
            shape = (channels, 1, 1) if gamma == 'channel' else ()
            self.gamma = nn.Parameter(torch.full(shape, float(gamma_init)))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            maps: The structure map (B, in_channels, h', w') and, unless the gate is
                left out, DINO's output (B, channels, h, w).

        Returns:
            The structure map, for the alignment, and the result (B, channels, h, w).

        Raises:
            ValueError: The gate is there and DINO's output is not.
        """
        structure, *rest = maps
        modulation = self.compress(structure)
        if rest:
            modulation = resize(
                modulation,
                rest[-1].shape[-2:],
                mode='bilinear',
                align_corners=False,
                warning=False,
            )
        if self.gate is None:
            return structure, modulation
        if not rest:
            raise ValueError(
                "The preservation gate protects DINO's features, and none were given: "
                'put them last in the maps, or leave the gate out (gate=None)'
            )
        semantic = rest[-1]
        gated = semantic * self.gate(modulation)
        return structure, semantic + self.gamma * gated
