"""Scores of a second feature map, mixed into those of the head.

Source: the knowledge-preserving branch of TCL (arXiv 2212.00785; kakaobrain/tcl,
``kp_branch`` in models/tcl/tcl.py), which keeps what CLIP knew before the training.
"""

from __future__ import annotations

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ovs.structures import VisualFeatures

from ..utils import cosine_similarity_map
from .base import GridPostProcessor


@MODELS.register_module()
class ScoreMix(GridPostProcessor):
    """(1 - weight) * scores + weight * sigmoid(scale * (cosine - threshold)).

    Args:
        in_index: The feature map whose cosine with the text it is; resized (bilinear)
            to the grid of the scores.
        weight: Its share, in 0..1.
        scale: Sharpness of its sigmoid.
        threshold: Cosine at which that is one half.
        text_slice: Which columns of the text vectors it is (CoDe); None: all.

    Raises:
        ValueError: ``weight`` is not in 0..1.
    """

    def __init__(
        self,
        in_index: int = 0,
        weight: float = 0.3,
        scale: float = 10.0,
        threshold: float = 0.25,
        text_slice: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= weight <= 1:
            raise ValueError(f'ScoreMix.weight has to be in 0..1, not {weight}')
        self.in_index = in_index
        self.weight = weight
        self.scale = scale
        self.threshold = threshold
        self.text_slice = slice(*(text_slice or (None,)))

    def forward(self, scores: Tensor, features: VisualFeatures, text: Tensor) -> Tensor:
        """See :class:`GridPostProcessor`."""
        cosine = cosine_similarity_map(
            features.maps[self.in_index], text[:, self.text_slice]
        )
        other = (self.scale * (cosine - self.threshold)).sigmoid()
        other = F.interpolate(other, scores.shape[-2:], mode='bilinear')
        return (1 - self.weight) * scores + self.weight * other
