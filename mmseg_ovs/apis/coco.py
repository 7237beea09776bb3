"""Results as a COCO data set, which labelling and training tools import."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import replacing

from .class_masks import ClassMask, class_numbers
from .outlines import outlines


def coco_categories(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """The classes without the background, with ids from 1."""
    return [
        dict(id=number, name=vocabulary.classes[label], supercategory='')
        for label, number in class_numbers(vocabulary).items()
    ]


def coco_annotation(found: ClassMask, polygons: bool = False) -> dict[str, Any]:
    """A class in an image.

    Args:
        found: Class and mask.
        polygons: Give the mask as polygons along the edges of pixels, with holes as
            parts of the ring around them, instead of run lengths.

    Returns:
        ``category_id``, ``segmentation``, ``area`` in pixels, ``bbox``
        ``[x, y, width, height]``, ``iscrowd`` 0 and, if scores were kept, ``score``.
        Ids of annotation and image are for the caller to add.
    """
    rle = coco_mask.encode(np.asfortranarray(found.mask.view(np.uint8)))
    if polygons:
        rings = [outline.as_one_ring() for outline in outlines(found.mask)]
        segmentation = [ring.ravel().tolist() for ring in rings]
    else:
        counts = rle['counts'].decode('ascii')
        segmentation = dict(size=list(rle['size']), counts=counts)
    annotation = dict(
        category_id=found.number,
        segmentation=segmentation,
        area=int(coco_mask.area(rle)),
        bbox=coco_mask.toBbox(rle).tolist(),
        iscrowd=0,
    )
    return annotation if found.score is None else {**annotation, 'score': found.score}


def coco_dataset(
    vocabulary: Vocabulary,
    file_name: str,
    size: tuple[int, int],
    masks: Iterable[ClassMask],
    polygons: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """A data set of one image, of id 1.

    Args:
        vocabulary: The classes.
        file_name: Of the image.
        size: Its height and width.
        masks: The classes in it.
        polygons: See :func:`coco_annotation`.
    """
    return dict(
        images=[dict(id=1, file_name=file_name, height=size[0], width=size[1])],
        categories=coco_categories(vocabulary),
        annotations=[
            dict(id=number, image_id=1, **coco_annotation(found, polygons))
            for number, found in enumerate(masks, 1)
        ],
    )


class CocoFile:
    """A data set written image by image, which appears when it is closed.

    Args:
        path: Where to. Missing folders are made.
        vocabulary: The classes.
        polygons: See :func:`coco_annotation`.
    """

    def __init__(
        self, path: str | os.PathLike, vocabulary: Vocabulary, polygons: bool = False
    ) -> None:
        self.polygons = polygons
        self._images: list[dict[str, Any]] = []
        self._annotations = 0
        self._stack = ExitStack()
        temporary = self._stack.enter_context(replacing(path))
        self._stream = self._stack.enter_context(temporary.open('w', encoding='utf-8'))
        categories = _as_json(coco_categories(vocabulary))
        self._stream.write(f'{{"categories": {categories},\n"annotations": [')

    def add(
        self,
        file_name: str,
        size: tuple[int, int],
        masks: Iterable[ClassMask],
        **extra: Any,
    ) -> None:
        """Append an image; see :func:`coco_dataset`.

        Args:
            file_name: Of the image.
            size: Its height and width.
            masks: The classes in it.
            **extra: What else to tell about it.
        """
        image = dict(id=len(self._images) + 1, file_name=file_name)
        image.update(height=size[0], width=size[1], **extra)
        self._images.append(image)
        for found in masks:
            comma = ',' if self._annotations else ''
            self._annotations += 1
            entry = dict(
                id=self._annotations,
                image_id=image['id'],
                **coco_annotation(found, self.polygons),
            )
            self._stream.write(f'{comma}\n{_as_json(entry)}')

    def close(self) -> None:
        """End the file and give it its name."""
        with self._stack:
            self._stream.write(f'\n],\n"images": {_as_json(self._images)}}}\n')


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
