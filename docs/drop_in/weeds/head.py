"""The project's own head."""

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class WeedsHead(BaseDecodeHead):
    """A few convolutions on one map; arguments as in ``BaseDecodeHead``."""

    def __init__(self, num_convs: int = 2, **kwargs) -> None:
        super().__init__(**kwargs)
        widths = [self.in_channels, *[self.channels] * num_convs]
        self.convs = nn.Sequential(
            *[
                ConvModule(
                    *(width, self.channels, 3),
                    padding=1,
                    norm_cfg=dict(type='GN', num_groups=8),
                )
                for width in widths[:-1]
            ]
        )

    def forward(self, inputs):
        """Maps of the backbone to logits (B, classes, h, w)."""
        return self.cls_seg(self.convs(self._transform_inputs(inputs)))
