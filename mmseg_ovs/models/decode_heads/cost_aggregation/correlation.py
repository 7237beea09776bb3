"""The cost volume: how much every position looks like every text."""

from __future__ import annotations

import torch
from torch import Tensor

from ...utils import cosine_similarity_map


def correlation(features: Tensor, text: Tensor) -> Tensor:
    """Cosine of every position with every text embedding of every class.

    Args:
        features: Feature map (B, D, h, w), of any norm.
        text: Text embeddings (T, P, D), P of each class, of any norm.

    Returns:
        (B, T, P, h, w).

    Raises:
        ValueError: The widths differ.
    """
    scores = cosine_similarity_map(features, text.flatten(0, 1))
    return scores.unflatten(1, text.shape[:2])


def strongest_classes(
    features: Tensor, text: Tensor, count: int, class_chunk: int
) -> Tensor:
    """The classes with the greatest maximum of the correlation, in their own order.

    Args:
        features: Feature map of one image (1, D, h, w).
        text: Text embeddings (T, P, D).
        count: How many classes.
        class_chunk: Classes correlated at a time.

    Returns:
        LongTensor (count,).
    """
    parts = [correlation(features, part) for part in text.split(class_chunk)]
    greatest = [part.flatten(2).amax(dim=(0, 2)) for part in parts]
    return torch.cat(greatest).topk(count).indices.sort().values


def competing_classes(
    features: Tensor, text: Tensor, count: int, class_chunk: int
) -> Tensor:
    """Classes among the ``count`` best somewhere by their mean correlation.

    Args:
        features: Feature map of one image (1, D, h, w).
        text: Text embeddings (T, P, D).
        count: How many classes of a position.
        class_chunk: Classes correlated at a time.

    Returns:
        LongTensor (n,), rising, n at least ``count``.
    """
    parts = text.split(class_chunk)
    means = [correlation(features, part)[0].mean(dim=1) for part in parts]
    return torch.cat(means).topk(count, dim=0).indices.unique()
