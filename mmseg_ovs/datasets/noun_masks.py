"""Images with a mask for each of their nouns."""

from __future__ import annotations

import json
import logging
from typing import Any

import mmengine.fileio as fileio
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmseg.registry import DATASETS

from mmseg_ovs.utils import is_number

from .sample_errors import NamesFailingSample, check_images_exist


@DATASETS.register_module()
class NounMasksDataset(NamesFailingSample, BaseDataset):
    """Pseudo-masks made by ``tools/pseudo_masks``, one sample per image.

    Accepts COCO instance files with compressed RLE and at most one mask per category
    and image. Images without a mask are skipped and reported.

    A sample has ``img_path``, ``image_id``, ``nouns`` (K names), ``noun_masks`` (K
    run-length strings), ``noun_masks_size`` (height, width) and, if the file has them,
    ``captions``; :class:`~mmseg_ovs.datasets.LoadNounMasks` decodes the masks. All
    nouns of the file are ``metainfo['nouns']``, sorted by id.

    Masks stay run-length strings until a sample is asked for, 0.5 to 1 kB each, in one
    buffer that worker processes share. While the json is read memory is about four
    times its size: for all of COCO's training images with five masks each, 2.3 GB,
    of which 0.5 GB stay.

    Args:
        ann_file: The json, relative to ``data_root``.
        data_prefix: ``dict(img_path=...)``, the image folder.
        min_score: Masks whose box scored lower are left out. None: none are.
        weight_by_score: Whether a mask counts in :class:`OVSDINOHead`'s loss by its
            score (``noun_weights`` of a sample), not like any other.
        backend_args: File backend, as in mmseg.
        **kwargs: See ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: The json or one of its images is missing.
        ValueError: The json is not in this format; a mask is of an unknown category or
            image, of another size than its image, or the second of a category; or
            no image has a mask; or scores are asked for and a mask has none.
        All of them when the data set is built. A run-length string that is broken in
        itself is found when it is decoded.
    """

    IGNORE_INDEX = 255  # what pixels of which nothing is known have in a mask

    def __init__(
        self,
        ann_file: str,
        data_prefix: dict | None = None,
        min_score: float | None = None,
        weight_by_score: bool = False,
        backend_args: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if min_score is not None and not (is_number(min_score) and 0 <= min_score <= 1):
            raise ValueError(f'min_score has to be in 0..1, or None, not {min_score!r}')
        if not isinstance(weight_by_score, bool):
            raise ValueError(
                f'weight_by_score has to be True or False, not {weight_by_score!r}'
            )
        self.min_score = min_score
        self.weight_by_score = weight_by_score
        self.backend_args = backend_args
        super().__init__(
            ann_file=ann_file, data_prefix=data_prefix or dict(img_path=''), **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """Read and check the json; one record an image that has masks."""
        path = self.ann_file
        images, names, annotations = read_instances(path, self.backend_args)
        self._metainfo['nouns'] = tuple(names[key] for key in sorted(names))
        masks: dict[Any, dict[Any, tuple[str, float | None]]] = {}
        for number, annotation in enumerate(annotations):
            image_id, category, counts = check_instance(
                path, number, annotation, images, names
            )
            own = masks.setdefault(image_id, {})
            if category in own:
                raise ValueError(
                    f'{self.ann_file}, annotation {number}: image {image_id} has two '
                    f'masks of {names[category]!r}; give their union'
                )
            own[category] = counts, self._score(number, annotation)
        if self.min_score is not None:
            masks = self._filtered(masks)
        check_images_exist(
            {images[key]['file_name'] for key in masks},
            self.data_prefix['img_path'],
            self.ann_file,
            self.backend_args,
        )
        bare = len(images) - len(masks)
        if not masks:
            scored = '' if self.min_score is None else f' of score {self.min_score:g}'
            raise ValueError(f'no image of {self.ann_file} has a mask{scored}')
        if bare:
            print_log(
                f'{self.ann_file}: {bare} of {len(images)} images have no mask and '
                'are left out',
                logger='current',
                level=logging.WARNING,
            )
        return [
            self._record(image, {names[k]: v for k, v in masks[image_id].items()})
            for image_id, image in images.items()
            if image_id in masks
        ]

    def _score(self, number: int, annotation: dict) -> float | None:
        """Score of an annotation; None where nothing asks for it."""
        if self.min_score is None and not self.weight_by_score:
            return None
        return read_score(self.ann_file, number, annotation)

    def _filtered(self, masks: dict[Any, dict]) -> dict[Any, dict]:
        """Masks by image and category, without those of a low score."""
        kept = {
            image_id: {k: v for k, v in own.items() if v[1] >= self.min_score}
            for image_id, own in masks.items()
        }
        before, after = (sum(map(len, m.values())) for m in (masks, kept))
        print_log(
            f'{self.ann_file}: {after} of {before} masks have a score of '
            f'{self.min_score:g} or more and are kept',
            logger='current',
        )
        return {image_id: own for image_id, own in kept.items() if own}

    def _record(self, image: dict, masks: dict[str, tuple[str, float | None]]) -> dict:
        record = dict(
            img_path=fileio.join_path(
                self.data_prefix['img_path'],
                image['file_name'],
                backend_args=self.backend_args,
            ),
            image_id=image['id'],
            nouns=list(masks),
            noun_masks=[counts for counts, _ in masks.values()],
            noun_masks_size=(image['height'], image['width']),
            seg_fields=[],
        )
        if self.weight_by_score:
            record['noun_weights'] = [score for _, score in masks.values()]
        if image.get('captions'):
            record['captions'] = image['captions']
        return record


def read_instances(
    path: str, backend_args: dict | None = None
) -> tuple[dict[Any, dict], dict[Any, str], list[dict]]:
    """Images by id, category names by id, and the raw annotations of a file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not in COCO's instance format.
    """
    try:
        content = json.loads(fileio.get_text(path, backend_args=backend_args))
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path} does not exist') from error
    except ValueError as error:
        raise ValueError(f'{path} is not json: {error}') from error
    try:
        listed = [
            (image['id'], image)
            for image in content['images']
            if all(key in image for key in ('file_name', 'height', 'width'))
        ]
        categories = [(c['id'], c['name']) for c in content['categories']]
        annotations = content['annotations']
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is not in COCO\'s instance format ("images", "categories", '
            f'"annotations"): {error!r}'
        ) from error
    if len(listed) < len(content['images']):
        raise ValueError(
            f'{path}: {len(content["images"]) - len(listed)} images lack '
            '"file_name", "height" or "width"'
        )
    images, names = dict(listed), dict(categories)
    if len(images) < len(listed) or len(names) < len(categories):
        raise ValueError(f'{path} has two images or two categories of the same id')
    if len(set(names.values())) < len(names):
        raise ValueError(f'{path} has two categories of the same name')
    return images, names, annotations


def check_instance(
    path: str, number: int, annotation: dict, images: dict, names: dict
) -> tuple[Any, Any, str]:
    """Image id, category id and compressed run lengths of one annotation.

    Args:
        path: The file, for messages.
        number: Place of the annotation in it.
        annotation: The annotation.
        images: Images by id.
        names: Category names by id.

    Raises:
        ValueError: It is of no image or category, of another size, or not compressed.
    """
    where = f'{path}, annotation {number}'
    try:
        image_id, category = annotation['image_id'], annotation['category_id']
        size = annotation['segmentation']['size']
        counts = annotation['segmentation']['counts']
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'{where} needs "image_id", "category_id" and a "segmentation" with '
            f'"size" and "counts": {str(annotation)[:200]}'
        ) from error
    if image_id not in images:
        raise ValueError(f'{where} is of image {image_id!r}, which is not listed')
    if category not in names:
        raise ValueError(
            f'{where} is of category {category!r}, which is not among the '
            f'{len(names)} categories'
        )
    image = images[image_id]
    if list(size) != [image['height'], image['width']]:
        raise ValueError(
            f'{where} is a mask of {size[0]} x {size[1]}, its image '
            f'{image["file_name"]} has {image["height"]} x {image["width"]}'
        )
    if not isinstance(counts, str):
        raise ValueError(
            f'{where} has no compressed run lengths (a string) but {str(counts)[:40]}'
        )
    return image_id, category, counts


def read_score(path: str, number: int, annotation: dict) -> float:
    """Score of one annotation.

    Raises:
        ValueError: It has none in 0..1.
    """
    score = annotation.get('score')
    number_given = isinstance(score, int | float) and not isinstance(score, bool)
    if not number_given or not 0 <= score <= 1:
        raise ValueError(
            f'{path}, annotation {number} has no "score" in 0..1 but {score!r}: make '
            'the file by the merge stage of tools/pseudo_masks/run.py, or do without '
            'scores (min_score, weight_by_score)'
        )
    return float(score)
