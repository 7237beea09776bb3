"""Symmetric InfoNCE over a batch of image-text pairs.

Source: CLIP (arXiv 2103.00020); Talk2DINO, lorebianchi98/Talk2DINO src/loss.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class InfoNCELoss(nn.Module):
    """Cross-entropy of the similarity matrix over rows and over columns, averaged.

    Args:
        temperature: Similarities are divided by it; a constant, as in Talk2DINO, whose
            optimizer never gets its scale.
        divide_by_squared_batch: Divide by the squared batch size as the authors' code
            does. It rescales the gradient, which Adam undoes.
        loss_weight: Weight of the loss.
    """

    def __init__(
        self,
        temperature: float = 0.07,
        divide_by_squared_batch: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.divide_by_squared_batch = divide_by_squared_batch
        self.loss_weight = loss_weight

    def forward(self, similarity: Tensor) -> Tensor:
        """Loss of a matrix (texts, images) whose diagonal holds the true pairs."""
        logits = similarity / self.temperature
        target = torch.arange(len(logits), device=logits.device)
        loss = F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)
        loss = self.loss_weight * loss / 2
        if self.divide_by_squared_batch:
            loss = loss / len(logits) ** 2
        return loss
