"""OVS-DINO's encoder: layers of DINO fused into a map that resembles SAM's.

Source: OVS-DINO, section 4.1, equations 7-9. No code was published; what the paper
leaves open is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..utils import PretrainedModule

GATES = ('softmax', 'sigmoid', 'input')


class GatedFusion(nn.Module):
    """Weighted sum of normalised projections of several layers (equation 7).

    Args:
        in_channels: Channels of each layer's map.
        channels: Channels of the sum.
        gate: How the learnable gates become weights: 'softmax' over the layers or
            'sigmoid' of each, the same for every image; 'input' adds a linear function
            of each layer's mean before the softmax. It starts as 'softmax' does.
        norm_cfg: Norm after each projection.
    """

    def __init__(
        self, in_channels: Sequence[int], channels: int, gate: str, norm_cfg: dict
    ) -> None:
        super().__init__()
        if gate not in GATES:
            raise ValueError(f'gate has to be one of {GATES}, got {gate!r}')
        self.gate = gate
        self.gates = nn.Parameter(torch.zeros(len(in_channels)))
        self.projections = nn.ModuleList(
            ConvModule(c, channels, 1, norm_cfg=norm_cfg, act_cfg=None)
            for c in in_channels
        )

        self.image_gates = None
        if gate == 'input':
            self.image_gates = nn.Parameter(torch.zeros(len(in_channels), channels))

    def weights(self, layers: Sequence[Tensor]) -> Tensor:
        """Weight of each layer (B or 1, L), for projected maps (B, channels, h, w)."""
        gates = self.gates[None]
        if self.gate == 'sigmoid':
            return gates.sigmoid()
        if self.image_gates is not None:
            means = torch.stack([x.mean(dim=(2, 3)) for x in layers], dim=1)
            gates = gates + (means * self.image_gates).sum(dim=2)
        return gates.softmax(dim=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_l, h, w), one a layer, to (B, channels, h, w)."""
        pairs = zip(self.projections, maps, strict=True)
        layers = [project(x) for project, x in pairs]
        weights = self.weights(layers)[..., None, None, None]
        return sum(weights[:, i] * x for i, x in enumerate(layers))


class RefinementLayer(nn.Module):
    """Depthwise convolution, norm and activation (equation 9).

    Args:
        channels: Channels in and out.
        norm_cfg: Norm.
        act_cfg: Activation.
        residual: Add the input.
    """

    def __init__(
        self, channels: int, norm_cfg: dict, act_cfg: dict, residual: bool
    ) -> None:
        super().__init__()
        self.residual = residual
        self.layer = ConvModule(
            channels,
            channels,
            3,
            padding=1,
            groups=channels,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        return x + self.layer(x) if self.residual else self.layer(x)


@MODELS.register_module()
class StructureAwareEncoder(PretrainedModule):
    """Fuse layers, refine, upsample: the map that is aligned with SAM's (equation 8).

    The last map given is DINO's own output, which is handed on. A trained encoder loads
    strictly by ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)``.

    Args:
        in_channels: Channels of the maps to fuse: one number for each map but the last.
        channels: Channels of the fusion.
        out_channels: Channels of the result: those of SAM's neck.
        scale_factor: Size of the result over that of the maps. 2 is SAM's grid where
            SAM sees the image at 1024 and a ViT with patches of 14 at 448.
        gate: See :class:`GatedFusion`.
        num_refinements: Refinement layers in succession.
        residual: Whether they add their input.
        norm_cfg: Norm.
        act_cfg: Activation of the refinement layers.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (768,) * 6,
        channels: int = 256,
        out_channels: int = 256,
        scale_factor: float = 2,
        gate: str = 'softmax',
        num_refinements: int = 2,
        residual: bool = True,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='GN', num_groups=32)
        act_cfg = act_cfg or dict(type='GELU')
        self.scale_factor = scale_factor
        self.fusion = GatedFusion(in_channels, channels, gate, norm_cfg)
        self.refinement = nn.Sequential(
            *(
                RefinementLayer(channels, norm_cfg, act_cfg, residual)
                for _ in range(num_refinements)
            )
        )
        self.project = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Encode.

        Args:
            maps: (B, C_l, h, w) of the layers to fuse, then DINO's output.

        Returns:
            The structure map (B, out_channels, h * scale, w * scale) and DINO's output.

        Raises:
            ValueError: The number of maps differs from ``in_channels``.
        """
        *layers, semantic = maps
        expected = len(self.fusion.projections)
        if len(layers) != expected:
            raise ValueError(
                f'StructureAwareEncoder fuses {expected} maps and hands on one more, '
                f"got {len(maps)}: the backbone's out_indices has to name {expected} "
                'layers and then the last one again'
            )
        fused = self.refinement(self.fusion(layers))
        height, width = fused.shape[-2:]
        size = (round(height * self.scale_factor), round(width * self.scale_factor))
        fused = resize(fused, size, mode='bilinear', align_corners=False, warning=False)
        return self.project(fused), semantic
