"""Results as text files that YOLO trainings read: a polygon a line."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np

from mmseg_ovs.structures import Vocabulary

from .class_masks import ClassMask, class_numbers
from .outlines import outlines


def yolo_text(masks: Iterable[ClassMask]) -> str:
    """A line for each connected region: class from 0 on, then ``x y`` of its corners.

    Coordinates are shares of the image's width and height. Holes are parts of the ring
    around them.
    """
    lines = []
    for found in masks:
        height, width = found.mask.shape
        for outline in outlines(found.mask):
            ring = outline.as_one_ring() / np.array([width, height])
            numbers = ' '.join(f'{value:.6g}' for value in ring.ravel())
            lines.append(f'{found.number - 1} {numbers}\n')
    return ''.join(lines)


def yolo_data_file(vocabulary: Vocabulary) -> str:
    """``data.yaml``: where the images go, and the classes without the background."""
    names = [
        f'  {number - 1}: {json.dumps(vocabulary.classes[label], ensure_ascii=False)}\n'
        for label, number in class_numbers(vocabulary).items()
    ]
    return 'train: images\nval: images\nnames:\n' + ''.join(names)
