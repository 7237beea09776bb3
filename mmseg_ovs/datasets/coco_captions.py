"""Image-caption pairs from a json in COCO's caption format."""

from __future__ import annotations

import json
import logging
import random

import mmengine.fileio as fileio
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmseg.registry import DATASETS

from .sample_errors import NamesFailingSample, check_images_exist

PAIRINGS = ('caption', 'image')


@DATASETS.register_module()
class COCOCaptionsDataset(NamesFailingSample, BaseDataset):
    """Image-caption pairs of ``captions_{train,val}{2014,2017}.json``.

    mmpretrain's ``COCOCaption`` does not serve: it reads Karpathy's re-packed list
    (``image``, ``caption``), is registered in mmpretrain's scope and checks nothing.

    ``pairing='caption'`` makes one sample of every caption, as Talk2DINO's training
    does (authors' ``src/dataset.py``: it walks over the annotations), so that an
    epoch is about 414,000 pairs of COCO 2014 and published epoch counts hold.
    ``pairing='image'`` makes one sample of every image and draws one of its captions
    at each access (in ``test_mode`` always the first): five times shorter epochs, an
    image is never twice in a batch (where InfoNCE would take its other caption for a
    negative), and all captions are under ``captions``.

    Each sample has ``img_path``, ``image_id`` and ``caption``; pack the caption with
    ``PackSegInputs(meta_keys=(..., 'caption'))``.

    Args:
        ann_file: the json, relative to ``data_root``. Needed keys: ``images`` with
            ``id`` and ``file_name``; ``annotations`` with ``image_id`` and
            ``caption``.
        data_prefix: ``dict(img_path=...)``, the image folder.
        pairing: ``'caption'`` or ``'image'``.
        backend_args: file backend, as in mmseg.
        **kwargs: see ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: the json or one of its images is missing.
        ValueError: the json is not in this format, has no captions, an empty one, or
            one for an image that it does not list.
        All of them when the data set is built, before training.
    """

    def __init__(
        self,
        ann_file: str,
        data_prefix: dict | None = None,
        pairing: str = 'caption',
        backend_args: dict | None = None,
        **kwargs,
    ) -> None:
        if pairing not in PAIRINGS:
            raise ValueError(f'pairing must be one of {PAIRINGS}, got {pairing!r}')
        self.pairing = pairing
        self.backend_args = backend_args
        super().__init__(
            ann_file=ann_file, data_prefix=data_prefix or dict(img_path=''), **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """Read and check the json; one record a caption or an image."""
        file_names, annotations = self._read()
        captions: dict[int, list[str]] = {}
        for number, annotation in enumerate(annotations):
            image_id, caption = self._checked(number, annotation, file_names)
            captions.setdefault(image_id, []).append(caption)
        check_images_exist(
            file_names.values(),
            self.data_prefix['img_path'],
            self.ann_file,
            self.backend_args,
        )
        bare = len(file_names) - len(captions)
        if bare:
            print_log(
                f'{self.ann_file}: {bare} of {len(file_names)} images have no caption '
                'and are left out',
                logger='current',
                level=logging.WARNING,
            )

        records = []
        for image_id, texts in captions.items():
            path = fileio.join_path(
                self.data_prefix['img_path'],
                file_names[image_id],
                backend_args=self.backend_args,
            )
            record = dict(img_path=path, image_id=image_id)
            if self.pairing == 'image':
                records.append(dict(record, captions=texts))
            else:
                records.extend(dict(record, caption=text) for text in texts)
        return records

    def get_data_info(self, idx: int) -> dict:
        """One sample's record; draws the caption where an image is a sample."""
        info = super().get_data_info(idx)
        if self.pairing == 'image':
            texts = info['captions']
            # `random` is seeded in every worker by mmengine's worker_init_fn.
            info['caption'] = texts[0] if self.test_mode else random.choice(texts)
        return info

    def _read(self) -> tuple[dict[int, str], list[dict]]:
        """File name of each image id, and the raw annotations."""
        path = self.ann_file
        try:
            content = json.loads(fileio.get_text(path, backend_args=self.backend_args))
        except FileNotFoundError as error:
            raise FileNotFoundError(f'captions file {path} does not exist') from error
        except ValueError as error:
            raise ValueError(f'captions file {path} is not json: {error}') from error
        try:
            images = [(image['id'], image['file_name']) for image in content['images']]
            annotations = content['annotations']
        except (KeyError, TypeError) as error:
            raise ValueError(
                f'captions file {path} is not in COCO\'s caption format ("images" '
                f'with "id" and "file_name", "annotations"): {error!r}'
            ) from error
        if not annotations:
            raise ValueError(f'captions file {path} has no captions')
        file_names = dict(images)
        if len(file_names) < len(images):
            raise ValueError(f'captions file {path} has two images with the same id')
        return file_names, annotations

    def _checked(
        self, number: int, annotation: dict, file_names: dict[int, str]
    ) -> tuple[int, str]:
        """Image id and caption of one annotation."""
        where = f'captions file {self.ann_file}, annotation {number}'
        try:
            image_id, caption = annotation['image_id'], annotation['caption']
        except (KeyError, TypeError) as error:
            raise ValueError(
                f'{where} needs "image_id" and "caption": {annotation!r}'
            ) from error
        if image_id not in file_names:
            raise ValueError(
                f'{where} is for image {image_id!r}, which is not among its '
                f'{len(file_names)} images'
            )
        if not isinstance(caption, str) or not caption.strip():
            raise ValueError(f'{where} has no text: {caption!r}')
        return image_id, caption.strip()
