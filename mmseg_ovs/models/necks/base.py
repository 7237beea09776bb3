"""Necks that see more than feature maps, and how any neck is applied."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule, Sequential
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures

from ..utils import Trainable, set_trainable


class FeatureNeck(BaseModule):
    """Base of necks that read or replace tokens, or look at the image again.

    Necks that map feature maps to feature maps stay stock necks (a tuple in, a tuple
    out). Under a stock ``EncoderDecoder``, which hands on maps alone, a ``FeatureNeck``
    works inside :class:`BackboneWithNeck`.
    """

    def forward(self, features: VisualFeatures) -> VisualFeatures:
        """All features of a batch in, all features out."""
        raise NotImplementedError


def as_visual_features(
    outputs: Sequence[Tensor] | VisualFeatures, image: Tensor
) -> VisualFeatures:
    """What a backbone returned for images (B, 3, H, W), with the images."""
    if not isinstance(outputs, VisualFeatures):
        outputs = VisualFeatures(tuple(outputs))
    return outputs._replace(image=image)


def apply_neck(neck: nn.Module, features: VisualFeatures) -> VisualFeatures:
    """Run a neck, or several in order, of either kind."""
    for part in neck if isinstance(neck, Sequential) else [neck]:
        if isinstance(part, FeatureNeck):
            features = part(features)
        else:
            features = features._replace(maps=tuple(part(features.maps)))
    return features


@MODELS.register_module()
class BackboneWithNeck(BaseModule):
    """A backbone and necks as one backbone, for stock segmentors.

    Args:
        backbone: Backbone config.
        neck: Config of a neck, or a list of them.
        trainable: What is trained of both, see :func:`set_trainable`.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | list[dict],
        trainable: Trainable = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck)
        set_trainable(self, trainable)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) to the maps that the last neck returns."""
        features = as_visual_features(self.backbone(x), x)
        return apply_neck(self.neck, features).maps
