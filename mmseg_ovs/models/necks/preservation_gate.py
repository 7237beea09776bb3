"""OVS-DINO's gate: how much of each DINO feature structure may change.

Source: OVS-DINO, section 4.2, below equation 13.
"""

from __future__ import annotations

from functools import partial

from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule, build_activation_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class PreservationGate(BaseModule):
    """A residual block and a bounded activation.

    Args:
        channels: Channels in and out: those of DINO.
        hidden_channels: Channels inside the residual block, fewer for a bottleneck;
            None: ``channels``.
        separable: Depthwise 3 x 3 and 1 x 1 convolutions instead of full 3 x 3 ones:
            a ninth of the weights. Norm and activation come after the pair.
        activation: Type of the bounded activation, 'Tanh' or 'Sigmoid'.
        norm_cfg: Norm of the residual block.
        act_cfg: Activation inside the residual block.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        channels: int = 768,
        hidden_channels: int | None = None,
        separable: bool = False,
        activation: str = 'Tanh',
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='GN', num_groups=32)
        act_cfg = act_cfg or dict(type='GELU')
        hidden = hidden_channels or channels
        conv = ConvModule
        if separable:
            plain = dict(dw_norm_cfg=None, dw_act_cfg=None)
            conv = partial(DepthwiseSeparableConvModule, **plain)
        conv = partial(conv, kernel_size=3, padding=1, norm_cfg=norm_cfg)
        self.conv1 = conv(channels, hidden, act_cfg=act_cfg)
        self.conv2 = conv(hidden, channels, act_cfg=None)
        self.activation = build_activation_layer(dict(type=activation))

    def forward(self, modulation: Tensor) -> Tensor:
        """Modulation map (B, C, h, w) to a gate of the same shape."""
        return self.activation(modulation + self.conv2(self.conv1(modulation)))
