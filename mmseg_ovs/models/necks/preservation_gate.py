"""OVS-DINO's gate: how much of each DINO feature structure may change.

Source: OVS-DINO, section 4.2, below equation 13.
"""

from __future__ import annotations

from mmcv.cnn import ConvModule, build_activation_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class PreservationGate(BaseModule):
    """A residual block and a bounded activation.

    Args:
        channels: Channels in and out: those of DINO.
        hidden_channels: Channels inside the residual block; None: ``channels``.
        activation: Type of the bounded activation, 'Tanh' or 'Sigmoid'.
        norm_cfg: Norm of the residual block.
        act_cfg: Activation inside the residual block.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        channels: int = 768,
        hidden_channels: int | None = None,
        activation: str = 'Tanh',
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='GN', num_groups=32)
        act_cfg = act_cfg or dict(type='GELU')
        hidden = hidden_channels or channels
        self.conv1 = ConvModule(
            channels, hidden, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg
        )
        self.conv2 = ConvModule(
            hidden, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None
        )
        self.activation = build_activation_layer(dict(type=activation))

    def forward(self, modulation: Tensor) -> Tensor:
        """Modulation map (B, C, h, w) to a gate of the same shape."""
        return self.activation(modulation + self.conv2(self.conv1(modulation)))
