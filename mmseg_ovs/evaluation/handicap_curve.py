"""Seen, unseen and harmonic mean IoU over the handicap of seen classes.

Source: Chao et al., "An Empirical Study and Analysis of Generalized Zero-Shot Learning
for Object Recognition in the Wild" (ECCV 2016, arXiv 1605.04253), whose curve is of
accuracies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class CurvePoint:
    """What a handicap gives, in percent.

    Attributes:
        handicap: What the scores of seen classes lose.
        seen: mIoU over the seen classes.
        unseen: mIoU over the others.
        harmonic: Harmonic mean of both.
    """

    handicap: float
    seen: float
    unseen: float
    harmonic: float


class HandicapCurve:
    """Scores of all handicaps from one pass over a data set.

    A handicap never changes which seen class, or which unseen one, is the best of a
    pixel: only how the two compare.

    Args:
        seen: Which classes were met in training, BoolTensor (N,); some are, some are
            not.
        handicaps: In rising order.
        ignore_index: Label that does not count.
    """

    def __init__(
        self, seen: Tensor, handicaps: Sequence[float], ignore_index: int = 255
    ) -> None:
        self.seen = seen
        self.handicaps = list(handicaps)
        self.ignore_index = ignore_index
        # pixels right, predicted and labelled, of each class
        shape = (3, len(self.handicaps), len(seen))
        self.counts = torch.zeros(shape, dtype=torch.int64)

    def add(self, scores: Tensor, label: Tensor) -> None:
        """Count an image.

        Args:
            scores: Scores (N, H, W) without a handicap.
            label: Labels (H, W) of the N classes.
        """
        sides = best_of_sides(scores, self.seen)
        known = label != self.ignore_index
        true = label[known].long().cpu()
        (seen, first), (unseen, second) = (
            [part[known].cpu() for part in side] for side in sides
        )
        size = len(self.seen)
        labelled = true.bincount(minlength=size)
        for i, handicap in enumerate(self.handicaps):
            lowered = seen - handicap
            # ties go to the first class, as in torch's arg max
            wins = (lowered > unseen) | ((lowered == unseen) & (first < second))
            predicted = torch.where(wins, first, second)
            right = predicted[predicted == true].bincount(minlength=size)
            predicted = predicted.bincount(minlength=size)
            self.counts[:, i] += torch.stack([right, predicted, labelled])

    def points(self) -> list[CurvePoint]:
        """The curve; classes neither labelled nor predicted are left out of means."""
        right, predicted, labelled = self.counts.double()
        iou = 100 * right / (predicted + labelled - right)
        found = []
        for handicap, row in zip(self.handicaps, iou, strict=True):
            seen = float(row[self.seen].nanmean())
            unseen = float(row[~self.seen].nanmean())
            total = seen + unseen
            harmonic = 2 * seen * unseen / total if total else 0.0
            found.append(CurvePoint(handicap, seen, unseen, harmonic))
        return found


def best_of_sides(scores: Tensor, seen: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Best score (H, W) and its class (H, W) among the seen and the other classes.

    Args:
        scores: (N, H, W).
        seen: BoolTensor (N,).
    """
    sides = []
    for side in (seen, ~seen):
        index = side.nonzero()[:, 0].to(scores.device)
        best, place = scores[index].max(dim=0)
        sides.append((best, index[place]))
    return sides


def useful_handicaps(leads: Tensor, count: int) -> list[float]:
    """Handicaps from 0 up to what turns nearly every pixel, in equal steps.

    Args:
        leads: By how much the best seen class of a pixel beats the best other one.
        count: How many.
    """
    largest = float(leads.clamp(min=0).quantile(0.99))
    return [largest * i / (count - 1) for i in range(count)]


def best_point(points: Sequence[CurvePoint]) -> CurvePoint:
    """The point of the highest harmonic mean; of equals the smallest handicap.

    A mean over nothing (nan) is the lowest.
    """
    return max(points, key=lambda p: (np.nan_to_num(p.harmonic), -p.handicap))
