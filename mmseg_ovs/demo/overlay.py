"""From labels to what ``gr.AnnotatedImage`` shows: image, masks, names, colours."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from mmseg_ovs.visualization.sheet import ALPHA, LARGEST_PANEL


class Overlay(NamedTuple):
    """An image with a mask for every class in it, the largest first.

    Attributes:
        image: uint8 RGB (h, w, 3), reduced to at most ``LARGEST_PANEL`` pixels a side:
            every mask is a file of its own that the browser loads.
        masks: (opacity (h, w), 0..1, and legend) of each class present. The
            legend holds name and share of all pixels.
        colours: ``#rrggbb`` of each legend.
    """

    image: np.ndarray
    masks: list[tuple[np.ndarray, str]]
    colours: dict[str, str]


def make_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    palette: np.ndarray,
) -> Overlay:
    """Overlay of labels (H, W) in colours (N, 3) on an image uint8 RGB (H, W, 3)."""
    counts = np.bincount(labels.ravel(), minlength=len(classes))
    scale = min(1, LARGEST_PANEL / max(labels.shape))
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in labels.shape[::-1])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(
            labels.astype(np.int32), size, interpolation=cv2.INTER_NEAREST
        )
    masks, colours = [], {}
    for label in np.argsort(-counts, kind='stable'):
        if counts[label]:
            legend = f'{classes[label]} ({100 * counts[label] / counts.sum():.1f} %)'
            masks.append((ALPHA * (labels == label), legend))
            colours[legend] = '#{:02x}{:02x}{:02x}'.format(*palette[label])
    return Overlay(image, masks, colours)
