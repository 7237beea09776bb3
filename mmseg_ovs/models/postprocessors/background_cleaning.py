"""Background cleaning of Talk2DINO.

Source: lorebianchi98/Talk2DINO, ``similarity_assignment_weighted`` in
models/dinotext/dinotext.py (arXiv 2411.19331, Section 3.4).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ovs.structures import VisualFeatures

from .base import GridPostProcessor


@MODELS.register_module()
class BackgroundCleaning(GridPostProcessor):
    """Mix a class's share of the class-token attention into its score map.

    Needs a backbone built with ``extra_outputs=('cls_attention',)``.

    Args:
        weight: Weight of the attention against the scores (lambda).
        attention_scale: Scale of q . k; the authors' 0.125 whatever the head width.
        in_index: Which of the feature maps the attention is averaged over.
    """

    def __init__(
        self, weight: float = 0.2, attention_scale: float = 0.125, in_index: int = -1
    ) -> None:
        super().__init__()
        self.weight = weight
        self.attention_scale = attention_scale
        self.in_index = in_index

    def forward(self, scores: Tensor, features: VisualFeatures, text: Tensor) -> Tensor:
        """See :class:`GridPostProcessor`; every window is treated by itself.

        Raises:
            ValueError: The backbone did not hand on its class-token attention.
        """
        if features.cls_attention is None:
            raise ValueError(
                'BackgroundCleaning needs the class-token attention: build the '
                "backbone with extra_outputs=('cls_attention',)"
            )
        patches = features.maps[self.in_index].flatten(2)
        attention = features.cls_attention.flatten(2) * self.attention_scale
        # what each head looks at, and which classes that resembles
        heads = F.normalize(attention @ patches.transpose(1, 2), dim=-1)
        share = torch.softmax(F.normalize(text, dim=-1) @ heads.transpose(1, 2), dim=-1)
        seen = torch.softmax(share @ attention, dim=-1)  # (B, R, patches)
        low = seen.amin((1, 2), keepdim=True)
        high = seen.amax((1, 2), keepdim=True)
        seen = (seen - low) / high  # by the maximum, not by the range
        low = scores.amin((1, 2, 3), keepdim=True)
        high = scores.amax((1, 2, 3), keepdim=True)
        seen = seen.view_as(scores) * (high - low) + low
        return (scores + self.weight * seen) / (1 + self.weight)
