"""Where a segmentation is wrong: object size, thin structures, boundaries, confusion.

These are the failures that OVS-DINO names in Appendix C, as figures. The definitions
are ours, since the paper shows pictures alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mmseg_ovs.evaluation.boundary_iou import (
    OUTSIDE,
    boundary_labels,
    boundary_width,
)
from mmseg_ovs.utils import OpenVocabError

# As COCO bins objects: up to 32 x 32 and 96 x 96 pixels.
COCO_AREAS = (32**2, 96**2)
PARTITIONS = {
    'size': ('small', 'medium', 'large'),
    'thickness': ('thin', 'thick'),
    'position': ('boundary', 'inside'),
}


@dataclass(frozen=True)
class PartScore:
    """A part of the labelled pixels; means are over the classes labelled in it.

    Attributes:
        partition, part: Names, as in :data:`PARTITIONS`; 'all' for all pixels.
        share: Of the labelled pixels, 0..1.
        classes: Number of classes with labelled pixels in the part.
        iou, accuracy: Means over them, 0..1; nan without such classes.
    """

    partition: str
    part: str
    share: float
    classes: int
    iou: float
    accuracy: float


class ErrorCounts:
    """Counts the errors of label maps by part of the picture and by pair of classes.

    A partition divides the pixels of any label map. A pixel of the *label* counts,
    right or missed, in its part of the label; a false alarm counts in its part of the
    *prediction*. So the parts of a partition add up to the intersections and unions of
    mIoU. The IoU of class c in part s is right(c, s) / (labelled(c, s) + false(c, s)).

    - size: area of the connected component (8 neighbours, one class) of the pixel.
    - thickness: what a morphological opening by a disc of ``radius`` takes away from
      the mask of the class is thin: less than ``2 radius + 1`` pixels across. The
      border of the image makes nothing thin.
    - position: boundary regions as in :class:`BoundaryIoUMetric`.

    Args:
        num_classes: N.
        ignore_index: Label that does not count.
        areas: Up to which component is small, and up to which medium, in pixels.
        radius: Of the disc, in pixels.
        dilation_ratio: Width of boundary regions over the diagonal of the image.

    Attributes:
        confusion: int64 (N, N), pixels by label (row) and prediction.
        right, labelled, false: int64 (P, N) by partition, pixels by part and class.

    Raises:
        OpenVocabError: A setting does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int = 255,
        areas: tuple[int, int] = COCO_AREAS,
        radius: int = 3,
        dilation_ratio: float = 0.02,
    ) -> None:
        if not 0 < areas[0] < areas[1]:
            raise OpenVocabError(f'areas have to rise from above 0, not {areas}')
        if radius < 1 or not dilation_ratio > 0:
            raise OpenVocabError(
                f'radius has to be at least 1 and dilation_ratio above 0, not {radius} '
                f'and {dilation_ratio}'
            )
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.areas, self.radius, self.dilation_ratio = areas, radius, dilation_ratio
        self.confusion = np.zeros((num_classes, num_classes), np.int64)
        shapes = {key: (len(parts), num_classes) for key, parts in PARTITIONS.items()}
        self.right = {key: np.zeros(shape, np.int64) for key, shape in shapes.items()}
        self.labelled = {key: np.zeros_like(x) for key, x in self.right.items()}
        self.false = {key: np.zeros_like(x) for key, x in self.right.items()}

    def update(self, prediction: np.ndarray, label: np.ndarray) -> None:
        """Add an image.

        Args:
            prediction: Integers (H, W) in 0..N-1.
            label: The same, or ``ignore_index``.

        Raises:
            OpenVocabError: Sizes differ, or a value is no class.
        """
        prediction, label = prediction.astype(np.int64), label.astype(np.int64)
        known = label != self.ignore_index
        if prediction.shape != label.shape:
            raise OpenVocabError(
                f'the prediction is {prediction.shape}, the label {label.shape}'
            )
        for what, values in (('prediction', prediction), ('label', label[known])):
            if values.size and not 0 <= values.min() <= values.max() < self.num_classes:
                raise OpenVocabError(
                    f'the {what} has the values {values.min()} to {values.max()}, and '
                    f'there are {self.num_classes} classes'
                )
        pairs = label[known] * self.num_classes + prediction[known]
        counts = np.bincount(pairs, minlength=self.num_classes**2)
        self.confusion += counts.reshape(self.confusion.shape)
        hit = known & (prediction == label)
        miss = known & ~hit
        own = self._parts(np.where(known, label, OUTSIDE))
        claimed = self._parts(prediction)
        for key in PARTITIONS:
            self._count(self.right[key], own[key], label, hit)
            self._count(self.labelled[key], own[key], label, known)
            self._count(self.false[key], claimed[key], prediction, miss)

    def iou(self, partition: str) -> np.ndarray:
        """(P, N), nan where a class has no labelled pixels."""
        labelled = self.labelled[partition]
        return _ratio(self.right[partition], labelled + self.false[partition], labelled)

    def accuracy(self, partition: str) -> np.ndarray:
        """(P, N), nan where a class has no labelled pixels."""
        labelled = self.labelled[partition]
        return _ratio(self.right[partition], labelled, labelled)

    def scores(self) -> list[PartScore]:
        """Of all pixels, then of each part of each partition."""
        hits, labelled = np.diag(self.confusion), self.confusion.sum(1)
        union = labelled + self.confusion.sum(0) - hits
        whole = _ratio(hits, union, labelled), _ratio(hits, labelled, labelled)
        rows = [('all', 'all', labelled, *whole)]
        for key, parts in PARTITIONS.items():
            figures = self.labelled[key], self.iou(key), self.accuracy(key)
            rows += [(key, *row) for row in zip(parts, *figures, strict=True)]
        total = max(int(labelled.sum()), 1)
        return [
            PartScore(
                *(partition, part, float(pixels.sum() / total)),
                *(int((pixels > 0).sum()), _mean(iou), _mean(accuracy)),
            )
            for partition, part, pixels, iou, accuracy in rows
        ]

    def pairs(self) -> list[tuple[int, int, int, float]]:
        """Confused classes: label, prediction, pixels, share of the label's pixels.

        The largest share comes first, as mIoU counts all classes alike.
        """
        labelled = self.confusion.sum(1)
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        found = [
            (int(i), int(j), int(wrong[i, j]), float(wrong[i, j] / labelled[i]))
            for i, j in np.argwhere(wrong)
        ]
        return sorted(found, key=lambda pair: (-pair[3], -pair[2]))

    def _parts(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Number of each pixel's part (H, W) by partition."""
        width = boundary_width(labels.shape, self.dilation_ratio)
        return {
            'size': np.digitize(component_areas(labels), self.areas, right=True),
            'thickness': (~thin_pixels(labels, self.radius)).astype(np.int64),
            # OUTSIDE where the label is that, too: such pixels are counted nowhere
            'position': (boundary_labels(labels, width) == OUTSIDE).astype(np.int64),
        }

    def _count(
        self, into: np.ndarray, parts: np.ndarray, classes: np.ndarray, mask: np.ndarray
    ) -> None:
        index = parts[mask] * self.num_classes + classes[mask]
        into += np.bincount(index, minlength=into.size).reshape(into.shape)


def component_areas(labels: np.ndarray) -> np.ndarray:
    """Area in pixels of the component that each pixel is in.

    Args:
        labels: int (H, W); below 0 is no class.

    Returns:
        int64 (H, W), 0 where there is no class.
    """
    areas = np.zeros(labels.shape, np.int64)
    for label in np.unique(labels[labels >= 0]):
        mask = (labels == label).astype(np.uint8)
        _, regions, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        inside = regions > 0
        areas[inside] = stats[regions[inside], cv2.CC_STAT_AREA]
    return areas


def thin_pixels(labels: np.ndarray, radius: int) -> np.ndarray:
    """What a morphological opening by a disc takes from the mask of each class.

    All classes at once: where the disc holds a single label it lies in one mask, and
    the union of such discs is the opening of every mask.

    Args:
        labels: int (H, W), :data:`OUTSIDE` or 0..65534.
        radius: Of the disc in pixels.

    Returns:
        bool (H, W).
    """
    side = np.arange(-radius, radius + 1)
    # half a pixel more: else the disc of radius 1 is a cross, and thin at its corners
    disc = (side[:, None] ** 2 + side**2 <= (radius + 0.5) ** 2).astype(np.uint8)
    shifted = (labels + 1).astype(np.uint16)
    single = cv2.erode(shifted, disc) == cv2.dilate(shifted, disc)
    return cv2.dilate(single.astype(np.uint8), disc) == 0


def _ratio(over: np.ndarray, under: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(labelled > 0, over / under, np.nan)


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float('nan')
