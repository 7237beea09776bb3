"""The classes that a loss compares, and its targets class by class."""

from __future__ import annotations

import torch
from torch import Tensor

from mmseg_ovs.structures import Vocabulary

from ..utils.global_batch import in_any_process

LOSS_CLASSES = ('all', 'labelled')

# Mark of targets that do not count.
SKIPPED = 255


def class_targets(
    labels: Tensor, num_classes: int, ignore_index: int, skip_ignored: bool
) -> Tensor:
    """Whether each pixel is of each class.

    Args:
        labels: (B, H, W).
        num_classes: Number of classes N.
        ignore_index: Label of unlabelled pixels.
        skip_ignored: Mark them by 255; else they are of no class.

    Returns:
        ByteTensor (B, N, H, W) of 0, 1 and 255.

    Raises:
        ValueError: A label is of none of the classes.
    """
    check_labels(labels, num_classes, ignore_index)
    ignored = labels == ignore_index
    index = labels.masked_fill(ignored, 0)
    shape = (len(labels), num_classes, *labels.shape[1:])
    targets = torch.zeros(shape, dtype=torch.uint8, device=labels.device)
    targets.scatter_(1, index[:, None], 1)
    return targets.masked_fill_(ignored[:, None], SKIPPED if skip_ignored else 0)


def sample_classes(
    labels: Tensor, num_classes: int, count: int, ignore_index: int
) -> Tensor:
    """All classes that are labelled and random others, ``count`` if they suffice.

    Args:
        labels: (B, H, W).
        num_classes: Number of classes.
        count: Classes wanted.
        ignore_index: Label of unlabelled pixels.

    Returns:
        LongTensor on the CPU of at least ``count`` (or all) classes in ascending order.

    Raises:
        ValueError: A label is of none of the classes.
    """
    named = read_classes(labels, num_classes, ignore_index).any(dim=0)
    weight = torch.rand(num_classes).masked_fill(named, 2)
    number = max(int(named.sum()), min(count, num_classes))
    return weight.topk(number).indices.sort().values


def labelled_classes(labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Classes that a label of the batch, in any process, names.

    Args:
        labels: (B, H, W).
        num_classes: Number of classes.
        ignore_index: Label of unlabelled pixels.

    Returns:
        LongTensor on the CPU in ascending order, empty if nothing is labelled.

    Raises:
        ValueError: A label is of none of the classes.
    """
    named = read_classes(labels, num_classes, ignore_index).any(dim=0)
    return in_any_process(named, labels.device).nonzero().flatten()


def read_classes(labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Which classes each image names: one read-back from a GPU, for a whole batch.

    Args:
        labels: (B, H, W).
        num_classes: Number of classes N.
        ignore_index: Label of unlabelled pixels.

    Returns:
        BoolTensor (B, N) on the CPU.

    Raises:
        ValueError: A label is of none of the classes.
    """
    # two bins more, of unlabelled pixels and of labels that are no class
    ignored = labels == ignore_index
    unknown = ((labels < 0) | (labels >= num_classes)) & ~ignored
    index = labels.long().masked_fill(ignored, num_classes)
    index = index.masked_fill_(unknown, num_classes + 1).flatten(1)
    shape = (len(labels), num_classes + 2)
    named = torch.zeros(shape, dtype=torch.bool, device=labels.device)
    named = named.scatter_(1, index, True).cpu()
    if named[:, -1].any():
        check_labels(labels, num_classes, ignore_index)  # which says what is wrong
    return named[:, :num_classes]


def renumber(labels: Tensor, kept: Tensor, ignore_index: int) -> Tensor:
    """Labels as positions in ``kept``, which names every class that is labelled."""
    renumbered = torch.searchsorted(kept.to(labels.device), labels)
    return renumbered.masked_fill(labels == ignore_index, ignore_index)


def sub_vocabulary(vocabulary: Vocabulary, kept: list[int]) -> Vocabulary:
    """The vocabulary of some classes."""
    label = vocabulary.background_label
    return Vocabulary(
        tuple(vocabulary.classes[label] for label in kept),
        tuple(vocabulary.synonyms[label] for label in kept),
        kept.index(label) if label in kept else None,
        vocabulary.background_score if label in kept else None,
    )


def check_labels(labels: Tensor, num_classes: int, ignore_index: int) -> None:
    """Raise ValueError if a label is neither a class nor the ignore index."""
    labels = labels.masked_fill(labels == ignore_index, 0)
    low, high = torch.stack(labels.aminmax()).tolist()
    if low < 0 or high >= num_classes:
        raise ValueError(
            f'Labels go from {low} to {high}, but there are {num_classes} classes and '
            f"{ignore_index} for unlabelled pixels: is this the data set's vocabulary, "
            'and does it need reduce_zero_label?'
        )
