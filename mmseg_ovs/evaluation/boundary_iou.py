"""Boundary IoU of semantic segmentation.

Source: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation" (CVPR 2021, arXiv 2103.16562); bowenc0221/boundary-iou-api,
boundary_iou/utils/boundary_utils.py.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from torch import Tensor

from .open_vocab_iou import OpenVocabIoUMetric

OUTSIDE = -1


@METRICS.register_module()
class BoundaryIoUMetric(OpenVocabIoUMetric):
    """IoU of the classes' boundary regions, and its means over parts of the vocabulary.

    The boundary region of a class is what eroding its mask by ``d`` pixels takes away:
    its pixels with another class, or no class, in the square of ``2 d + 1`` pixels
    around them. The regions' intersection and union are summed over the data set for
    each class, as those of masks are in mIoU. To be listed beside
    :class:`OpenVocabIoUMetric`; both read the same predictions::

        val_evaluator = [
            dict(type='OpenVocabIoUMetric', iou_metrics=['mIoU']),
            dict(type='BoundaryIoUMetric'),
        ]

    Results are ``boundary/mIoU`` and, where the data set has the parts,
    ``boundary/mIoU_seen``, ``boundary/mIoU_unseen``, ``boundary/hIoU`` and
    ``boundary/mIoU_<group>``, in percent.

    As in the authors' code, the border of the image is a boundary. Ignored pixels are
    treated as beyond that border, in the prediction too (the masks compared are those
    of mIoU): a prediction that is right wherever the label is known scores 100, and
    with a ``dilation_ratio`` of 1 the result is mIoU. The authors' panoptic tools
    instead erode the prediction before they leave out the ignored pixels, so a right
    prediction beside them scores less.

    Args:
        dilation_ratio: ``d`` over the diagonal of the image, above 0; ``d`` is
            rounded and at least 1.
        **kwargs: see :class:`OpenVocabIoUMetric`; ``iou_metrics`` is fixed.

    Raises:
        ValueError: see :class:`OpenVocabIoUMetric`; ``dilation_ratio`` is not above 0.
    """

    default_prefix = 'boundary'

    def __init__(self, dilation_ratio: float = 0.02, **kwargs) -> None:
        super().__init__(iou_metrics=['mIoU'], **kwargs)
        if not dilation_ratio > 0:
            raise ValueError(f'dilation_ratio has to be above 0, got {dilation_ratio}')
        self.dilation_ratio = dilation_ratio

    def intersect_and_union(
        self, pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int
    ) -> tuple[Tensor, ...]:
        """Pixels of intersection, union, predicted and true boundary of each class.

        Takes label maps (H, W), gives four tensors (num_classes,); called by
        ``process``.
        """
        true = np.atleast_2d(label.cpu().numpy())  # mmseg squeezes single rows
        known = true != ignore_index
        width = boundary_width(true.shape, self.dilation_ratio)
        true = boundary_labels(np.where(known, true, OUTSIDE), width)
        pred = np.where(known, pred_label.cpu().numpy(), OUTSIDE)
        pred = boundary_labels(pred, width)

        hits = _count(pred[pred == true], num_classes)
        pred, true = _count(pred, num_classes), _count(true, num_classes)
        return hits, pred + true - hits, pred, true

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Boundary mIoU and its means over parts, in percent."""
        if not self.format_only:
            print_log(
                f'IoU of boundaries, dilation ratio {self.dilation_ratio}:',
                logger=MMLogger.get_current_instance(),
            )
            # Double: single precision counts no further than 2 ** 24.
            results = [
                tuple(
                    torch.stack(column).sum(0, dtype=torch.float64)
                    for column in zip(*results, strict=True)
                )
            ]
        metrics = super().compute_metrics(results)
        # The paper has no accuracy of boundaries.
        return {name: value for name, value in metrics.items() if 'IoU' in name}


def boundary_width(shape: tuple[int, int], ratio: float) -> int:
    """Width in pixels of the boundary regions of an image (H, W)."""
    return max(1, round(ratio * float(np.hypot(*shape))))


def boundary_labels(labels: np.ndarray, width: int) -> np.ndarray:
    """Label map without the inside of the regions.

    Equal to eroding the mask of every class by itself, at the cost of one mask.

    Args:
        labels: int (H, W), :data:`OUTSIDE` or 0..65534.
        width: of the boundary region in pixels, at least 1.

    Returns:
        ``labels`` where another label, or the border, is at most ``width`` pixels away
        (rows or columns, whichever is more); :data:`OUTSIDE` elsewhere.
    """
    shifted = (labels + 1).astype(np.uint16)
    framed = cv2.copyMakeBorder(shifted, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    square = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(framed, square) != cv2.erode(framed, square)
    # The straight way to the nearest other label leaves the own one at an edge pixel
    # one step before, so the rest of the width is a square around edge pixels.
    size = 2 * width - 1
    rim = cv2.dilate(edge[1:-1, 1:-1].astype(np.uint8), np.ones((size, size), np.uint8))
    return np.where(rim, labels, OUTSIDE)


def _count(labels: np.ndarray, num_classes: int) -> Tensor:
    """Pixels of each class (num_classes,)."""
    counts = np.bincount(labels[labels >= 0], minlength=num_classes)
    return torch.from_numpy(counts[:num_classes]).float()
