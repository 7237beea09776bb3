"""COCO's instance format, as pseudo-masks and benchmarks have it."""

from collections.abc import Mapping, Sequence

import numpy as np
from pycocotools import mask as coco_mask


def encode(mask: np.ndarray) -> str:
    """Compressed run lengths of a mask (H, W), by COCO's own library."""
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))['counts'].decode()


def instance_file(
    images: Sequence[tuple[int, int, Mapping[str, np.ndarray]]],
    names: Sequence[str],
    first: int = 0,
) -> dict:
    """Content of a file.

    Args:
        images: Height, width and masks by their noun; image i is called i.png.
        names: Nouns.
        first: Number of the first category.
    """
    categories = [dict(id=i, name=name) for i, name in enumerate(names, first)]
    content = dict(images=[], annotations=[], categories=categories)
    for number, (height, width, masks) in enumerate(images):
        image = dict(id=number, file_name=f'{number}.png', height=height, width=width)
        content['images'].append(dict(image, captions=[f'Image {number}.']))
        for noun, mask in masks.items():
            segmentation = dict(size=[height, width], counts=encode(mask))
            annotation = dict(id=len(content['annotations']) + 1, image_id=number)
            category = first + names.index(noun)
            content['annotations'].append(
                dict(annotation, category_id=category, segmentation=segmentation)
            )
    return content
