"""Pictures of pseudo-masks beside COCO's labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mmseg_ovs.visualization.palette import make_palette
from mmseg_ovs.visualization.sheet import draw_sheet

from .audit import Audit
from .label_masks import Rle

NOTHING = -1


def audit_sheet(audit: Audit, image: str, pixels: np.ndarray) -> np.ndarray:
    """An image, its pseudo-masks with nouns and scores, and its labels, side by side.

    A noun that names one class has the colour of that class.

    Args:
        audit: See :class:`Audit`.
        image: File name.
        pixels: uint8 RGB (H, W, 3).

    Returns:
        uint8 RGB (h, w, 3).

    Raises:
        ValueError: The image has another size than its masks.
    """
    masks = [(m.noun, f'{m.noun} {m.score:.2f}', m.mask) for m in audit.masks[image]]
    colours = []
    for noun, _, _ in masks:
        classes = audit.classes.get(noun, ())
        colours.append(classes[0] if len(classes) == 1 else noun)
    labels = [
        (name, mask)
        for name in audit.labels.names
        if (mask := audit.labels.mask(image, [name])) is not None
    ]
    size, count = audit.labels.sizes[image], len(masks)
    maps = {
        'pseudo-masks': _paint([mask for *_, mask in masks], size, 0),
        'labels': _paint([mask for _, mask in labels], size, count),
    }
    names = [title for _, title, _ in masks] + [name for name, _ in labels]
    palette = make_palette(colours + [name for name, _ in labels])
    return draw_sheet(pixels, maps, names, np.uint8(palette).reshape(-1, 3))


def _paint(masks: Sequence[Rle], size: tuple[int, int], first: int) -> np.ndarray:
    """A label map (H, W) on which small masks lie on large ones."""
    labels = np.full(size, NOTHING, np.int32)
    order = sorted(range(len(masks)), key=lambda i: -int(coco_mask.area(masks[i])))
    for i in order:
        labels[coco_mask.decode(masks[i]).astype(bool)] = first + i
    return labels
