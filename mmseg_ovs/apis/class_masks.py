"""A label map as one mask for each class, which is how other tools keep results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmseg_ovs.structures import Vocabulary


class ClassMask(NamedTuple):
    """A class that an image has.

    Attributes:
        label: Its number in the label map.
        number: From 1 on, without the background.
        name: Its name.
        mask: bool (H, W).
        score: Its mean score within the mask; None if scores were not kept.
    """

    label: int
    number: int
    name: str
    mask: np.ndarray
    score: float | None


def class_masks(
    labels: np.ndarray, vocabulary: Vocabulary, scores: np.ndarray | None = None
) -> Iterator[ClassMask]:
    """The classes that are there, in the order of their labels.

    Args:
        labels: Label map (H, W).
        vocabulary: What the labels mean. Its background is no object and left out.
        scores: Scores of the classes (N, H, W), if they were kept.
    """
    numbers = class_numbers(vocabulary)
    for label in np.unique(labels).tolist():
        if label in numbers:
            mask = labels == label
            score = None if scores is None else float(scores[label][mask].mean())
            yield ClassMask(
                label, numbers[label], vocabulary.classes[label], mask, score
            )


def class_numbers(vocabulary: Vocabulary) -> dict[int, int]:
    """Number of each label, from 1 on, without the background."""
    labels = range(vocabulary.num_classes)
    kept = [label for label in labels if label != vocabulary.background_class]
    return {label: number for number, label in enumerate(kept, 1)}
