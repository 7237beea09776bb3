"""PixelCLIP's head: cosines of resized features, and the layout of its files.

Source: Shin et al., "Towards Open-Vocabulary Semantic Segmentation without Semantic
Labels" (NeurIPS 2024, arXiv 2409.19846), cvlab-kaist/PixelCLIP pixelclip/pixelclip.py.
"""

from __future__ import annotations

import logging

import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ovs.structures import VisualFeatures

from .text_similarity_head import TextSimilarityHead

_CLIP = 'sem_seg_head.predictor.clip_model.'
_PROMPTS = 'sem_seg_head.predictor.prompt_tokens'
# The momentum teacher and the mask decoder of training.
_TRAINING = ('teacher_encoder.', 'head.')


@MODELS.register_module()
class PixelCLIPHead(TextSimilarityHead):
    """Cosine of text and features that are resized before they are normalised.

    Args:
        in_channels, text_channels: See :class:`TextSimilarityHead`.
        feature_size: Height and width to which feature maps are resized (bilinear),
            whatever their aspect.
        **kwargs: See :class:`TextSimilarityHead`.
    """

    def __init__(
        self,
        in_channels: int,
        text_channels: int,
        feature_size: tuple[int, int] = (64, 64),
        **kwargs,
    ) -> None:
        super().__init__(in_channels, text_channels, **kwargs)
        self.feature_size = tuple(feature_size)

    def forward(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """Logits (B, R, *feature_size) of projected text (R, C)."""
        maps = F.interpolate(
            features.maps[self.in_index], self.feature_size, mode='bilinear'
        )
        # one map is left, which is first and last
        resized = features._replace(maps=(maps,) * len(features.maps))
        return super().forward(resized, text)

    def split_checkpoint(
        self, state: dict[str, Tensor]
    ) -> dict[str, dict[str, Tensor]] | None:
        """The authors' file to the image tower.

        The text tower is OpenAI's: the authors encode the names before they load the
        file, so the one in the file has no part in their results.
        """
        if _PROMPTS not in state:
            return None
        tower, rest = {}, {}
        for key, value in state.items():
            if key.startswith(f'{_CLIP}visual.'):
                tower[key.removeprefix(_CLIP)] = value
            elif key != _PROMPTS and not key.startswith((_CLIP, *_TRAINING)):
                rest[key] = value
        print_log(
            f"PixelCLIP's file: took the {len(tower)} weights of the image tower, left "
            f'out {len(state) - len(tower) - len(rest)} that serve training only or '
            "belong to the text tower, which is OpenAI's",
            'current',
            logging.INFO,
        )
        return dict(backbone={**tower, **rest})  # which lists what it does not know
