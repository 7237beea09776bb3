"""COCO's labels of things and stuff, one mask of each class of an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from mmseg_ovs.datasets.noun_masks import read_instances
from mmseg_ovs.utils.rle import check_mask

from .errors import PseudoMaskError

Rle = dict[str, Any]
# What COCO-Stuff calls the pixels of things.
_NO_CLASS = ('other',)


def union(masks: Iterable[Rle]) -> Rle | None:
    """Union of run-length masks; None of none."""
    masks = list(masks)
    return coco_mask.merge(masks) if masks else None


def common(*masks: Rle | None) -> int:
    """Pixels that all masks share; None is empty."""
    if None in masks:
        return 0
    return int(coco_mask.area(coco_mask.merge(list(masks), intersect=True)))


class LabelMasks:
    """Reads ``instances_*.json`` and ``stuff_*.json``.

    Args:
        files: Files in COCO's instance format, with polygons or run lengths. Images are
            told apart by their file names.

    Attributes:
        names: Names of the classes of all files.
        sizes: Height and width of each image.

    Raises:
        PseudoMaskError: A file is missing or not of this format.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.names: list[str] = []
        self.sizes: dict[str, tuple[int, int]] = {}
        self._classes: dict[str, set[str]] = {}  # that the files of an image label
        self._masks: dict[tuple[str, str], list[Rle]] = {}
        self._crowds: dict[tuple[str, str], list[Rle]] = {}
        for file in files:
            self._read(file)

    def _read(self, file: Path) -> None:
        try:
            images, names, annotations = read_instances(str(file))
        except (OSError, ValueError) as error:
            raise PseudoMaskError(str(error)) from error
        names = {k: name for k, name in names.items() if name not in _NO_CLASS}
        self.names += [n for n in names.values() if n not in self.names]
        for image in images.values():
            name, size = image['file_name'], (image['height'], image['width'])
            if self.sizes.setdefault(name, size) != size:
                raise PseudoMaskError(f'{name} has another size in {file} than before')
            self._classes.setdefault(name, set()).update(names.values())
        for number, annotation in enumerate(annotations):
            try:
                image = images[annotation['image_id']]
                name = names.get(annotation['category_id'])
                mask = _run_lengths(annotation['segmentation'], image)
            except (KeyError, TypeError, ValueError, AssertionError) as error:
                raise PseudoMaskError(
                    f'{file}, annotation {number} cannot be used: {error!r}'
                ) from error
            if name is not None:
                kind = self._crowds if annotation.get('iscrowd') else self._masks
                kind.setdefault((image['file_name'], name), []).append(mask)

    def labelled(self, image: str) -> set[str]:
        """Classes that are labelled wherever they are in an image."""
        return self._classes.get(image, set())

    def mask(self, image: str, classes: Iterable[str]) -> Rle | None:
        """Where some classes are, crowds aside; None: nowhere."""
        return union(m for n in classes for m in self._masks.get((image, n), ()))

    def crowd(self, image: str, classes: Iterable[str]) -> Rle | None:
        """Where crowds of some classes are, which are labelled roughly."""
        return union(m for n in classes for m in self._crowds.get((image, n), ()))


def _run_lengths(segmentation: Any, image: dict) -> Rle:
    """Polygons, or run lengths in either form, as compressed run lengths."""
    height, width = image['height'], image['width']
    if isinstance(segmentation, list):
        return union(coco_mask.frPyObjects(segmentation, height, width))
    if list(segmentation['size']) != [height, width]:
        raise ValueError(f'a mask of {segmentation["size"]} for {height} x {width}')
    if isinstance(segmentation['counts'], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    check_mask(segmentation['counts'], (height, width))
    return dict(segmentation, counts=segmentation['counts'].encode('ascii'))
