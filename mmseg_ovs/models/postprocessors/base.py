"""What every post-processor of score maps offers."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures, Vocabulary


class GridPostProcessor(BaseModule, metaclass=ABCMeta):
    """Changes scores on the patch grid of a window; sees features and text."""

    stage = 'grid'

    def check(self, vocabulary: Vocabulary, head: nn.Module) -> None:
        """Refuse, before the work, what the post-processor cannot handle.

        Args:
            vocabulary: What the rows of the scores are.
            head: The decode head that gives the scores.

        Raises:
            OpenVocabError: It would go wrong in silence.
        """
        return

    @abstractmethod
    def forward(self, scores: Tensor, features: VisualFeatures, text: Tensor) -> Tensor:
        """Refine scores.

        Args:
            scores: (B, R, h, w), one map for each text row.
            features: Features of the B windows, as the head received them.
            text: Text vectors (R, C) in the space of the features.

        Returns:
            (B, R, h, w).
        """


class ImagePostProcessor(BaseModule, metaclass=ABCMeta):
    """Refines every score map by itself with the help of the image.

    Maps are refined in chunks, so what depends on the image alone is prepared once.

    Args:
        stage: 'grid' refines each window on the grid of its scores, in order with
            those of :class:`GridPostProcessor`; 'window' at its size before windows are
            merged, 'image' the merged maps, 'output' the merged maps at the size of
            the original image.
    """

    STAGES = ('grid', 'window', 'image', 'output')
    # Whether refined scores are averages of the scores with weights that come from the
    # image: none is above all of them, and a map above another stays so.
    averages = False
    # Whether a background with a constant score can still be compared with scores.
    keeps_scale = True

    def __init__(self, stage: str) -> None:
        super().__init__()
        if stage not in self.STAGES:
            raise ValueError(f'stage has to be one of {self.STAGES}, got {stage!r}')
        self.stage = stage

    @abstractmethod
    def prepare(self, image: Tensor) -> object:
        """Compute what depends on the RGB image (3, H, W), 0..255, alone."""

    def refine_grid(self, scores: Tensor, images: Tensor) -> Tensor:
        """Refine the scores (B, R, h, w) of windows with their images (B, 3, H, W).

        The images shrink to the grid corner to corner, as TCL's do.
        """
        images = F.interpolate(
            images, scores.shape[-2:], mode='bilinear', align_corners=True
        )
        pairs = zip(scores, images, strict=True)
        return torch.stack([self.refine(s, self.prepare(i)) for s, i in pairs])

    @abstractmethod
    def refine(self, scores: Tensor, prepared: object) -> Tensor:
        """Refine maps (n, H, W) of the image's size."""
