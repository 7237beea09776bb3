"""The one way to compare feature maps with text."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_similarity_map(features: Tensor, text: Tensor) -> Tensor:
    """Cosine of every position with every text vector.

    Args:
        features: Feature map (B, C, h, w), of any norm.
        text: Text vectors (R, C), of any norm.

    Returns:
        (B, R, h, w), values in -1..1.

    Raises:
        ValueError: The widths differ.
    """
    if features.shape[1] != text.shape[-1]:
        raise ValueError(
            f'Visual features have {features.shape[1]} channels, text vectors '
            f'{text.shape[-1]}: add or correct the projection of the head'
        )
    features = F.normalize(features, dim=1, eps=1e-6)
    text = F.normalize(text, dim=-1, eps=1e-6)
    return torch.einsum('bchw,rc->brhw', features, text)
