"""Semantic Prior Encoder of dinov3.seg: another network's view of the image.

Source: "dinov3.seg: Open-Vocabulary Semantic Segmentation with DINOv3" (arXiv
2603.19531). There it is SAM's ViT-L image encoder, whose maps guide the cost
aggregation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ovs.structures import VisualFeatures

from ..utils import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Renormalise,
    Trainable,
    resize_images,
    set_trainable,
)
from .base import FeatureNeck, as_visual_features


@MODELS.register_module()
class SemanticPriorEncoder(FeatureNeck):
    """Append the maps of a further backbone to those of the features.

    It runs once an image, and :class:`CostAggregationHead` takes its maps as guidance
    by index: behind one map of the first backbone, the prior's are 1, 2, ... Weights
    come by the backbone's ``init_cfg``; a checkpoint may then leave them out.

    Args:
        backbone: Config of the backbone.
        input_size: Height and width to which images are resized for it (bilinear,
            antialiased). None: as they are.
        strides: Strides with respect to the image of the features at which its maps
            are handed on, one for each; maps of other sizes are resized (bilinear).
            None: as they come. Needed where ``input_size`` changes the strides.
        mean, std: What the data preprocessor normalises images with (RGB, 0..255). The
            prior sees them as ImageNet's mean and standard deviation have them, which
            SAM and DINO were trained with and are the default; images normalised
            otherwise, for CLIP for example, are converted.
        trainable: What is trained of it, see :func:`set_trainable`. False, the default:
            no gradient, always in evaluation mode.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        backbone: dict,
        input_size: tuple[int, int] | None = None,
        strides: Sequence[float] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        trainable: Trainable = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        # Not 'backbone': a learning rate for parameters of that name is another's.
        self.prior = MODELS.build(backbone)
        self.input_size = input_size
        self.strides = strides
        self.renormalise = Renormalise(mean, std)
        self.frozen = trainable is False
        set_trainable(self.prior, trainable)
        self.train(self.training)

    def train(self, mode: bool = True) -> SemanticPriorEncoder:
        """Set the mode; a frozen prior stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.prior.eval()
        return self

    def forward(self, features: VisualFeatures) -> VisualFeatures:
        """Maps of the features, then those of the prior.

        Raises:
            ValueError: The features come without their images, or the prior has
                another number of maps than ``strides``.
        """
        image = features.image
        if image is None:
            raise ValueError(
                'SemanticPriorEncoder looks at the image, and the features came '
                'without it. OpenVocabSegmentor hands it on; in a stock segmentor make '
                "the two one backbone: dict(type='BackboneWithNeck', backbone=..., "
                "neck=dict(type='SemanticPriorEncoder', backbone=...))."
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            outputs = self.prior(
                resize_images(self.renormalise(image), self.input_size)
            )
            maps = as_visual_features(outputs, image).maps
            if self.strides is not None:
                maps = self._at_strides(maps, image.shape[-2:])
        return features._replace(maps=(*features.maps, *maps))

    def _at_strides(
        self, maps: Sequence[Tensor], size: tuple[int, int]
    ) -> list[Tensor]:
        """Maps at the strides wanted of images of a size (height, width)."""
        if len(maps) != len(self.strides):
            raise ValueError(
                f'The prior returns {len(maps)} map(s), but there are '
                f'{len(self.strides)} strides {tuple(self.strides)}: give one for each'
            )
        resized = []
        for prior, stride in zip(maps, self.strides, strict=True):
            wanted = tuple(-int(-side // stride) for side in size)
            if tuple(prior.shape[-2:]) != wanted:
                prior = resize(prior, wanted, mode='bilinear', align_corners=False)
            resized.append(prior)
        return resized
