"""PASCAL Context: all 459 classes from the .mat files, 59 and background from the json.

Facts on the files: Mottaghi et al., "The Role of Context for Object Detection and
Semantic Segmentation in the Wild" (CVPR 2014); zhanghang1989/detail-api, whose package
is not needed here; cvlab-kaist/CAT-Seg ``datasets/prepare_pascal_context_459.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from mmseg_ovs.jobs import file_digest
from mmseg_ovs.utils.rle import decode_mask

from .conversion import Conversion, ConversionError, Converted, Sample

SPLITS = {'train': 4998, 'val': 5105}
JSON = 'trainval_merged.json'
_LISTS = 'ImageSets/SegmentationContext'

# Which of the 459 classes (counted from 1) are the 59, in mmseg's order; 0 means
# all others, the background.
RAW_IDS_60 = (
    *(0, 2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85),
    *(98, 104, 105, 113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259),
    *(260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415),
    *(416, 420, 424, 427, 440, 445, 454, 458),
)
_TO_60 = {raw: label for label, raw in enumerate(RAW_IDS_60)}


@dataclass(frozen=True)
class ContextImage:
    """An image of ``trainval_merged.json`` and its masks.

    Args:
        stem: File name without suffix, such as '2008_000002'.
        split: 'train' or 'val'.
        size: Height and width.
        masks: Class (counted from 1) and run lengths, in the order they are painted.
    """

    stem: str
    split: str
    size: tuple[int, int]
    masks: tuple[tuple[int, str], ...]


def plan_context_60(root: Path, split: str) -> Conversion:
    """Plan ``SegmentationClassContext/*.png`` of a split, as mmseg reads it.

    Args:
        root: ``VOCdevkit/VOC2010`` with ``JPEGImages`` and ``trainval_merged.json``.
        split: 'train' or 'val'.

    Raises:
        ConversionError: The json is missing or not in its format.
    """
    listed = [p for p in read_context_json(root / JSON) if p.split == split]
    samples, missing = _samples(
        root,
        'SegmentationClassContext',
        ((sample.stem, sample) for sample in listed),
    )
    return Conversion(
        name=f'context60_{split}',
        root=root,
        num_classes=60,
        ignore_index=255,
        expected=SPLITS[split],
        setting={JSON: file_digest(root / JSON)},
        samples=samples,
        missing=missing,
        convert=convert_context_60,
        list_file=root / _LISTS / f'{split}.txt',
    )


def convert_context_60(sample: Sample) -> Converted:
    """Labels 0 (background) to 59; later masks are painted over earlier ones.

    Raises:
        ValueError: A mask is broken or of a class that is not among the 59.
    """
    context: ContextImage = sample.source
    labels = np.zeros(context.size, dtype=np.uint8)
    for raw, counts in context.masks:
        if raw not in _TO_60:
            raise ValueError(f'category {raw} is none of the 59')
        labels[decode_mask(counts, context.size) > 0] = _TO_60[raw]
    return Converted(labels)


def plan_context_459(root: Path, split: str) -> Conversion:
    """Plan ``SegmentationClassContext459/*.png`` of a split, 16-bit.

    Args:
        root: ``VOCdevkit/VOC2010`` with ``JPEGImages``, ``trainval/*.mat`` and, for the
            split, ``trainval_merged.json`` or
            ``ImageSets/SegmentationContext/{train,val}.txt``.
        split: 'train' or 'val'.

    Raises:
        ConversionError: It is not known which images belong to the split.
    """
    mats = root / 'trainval'
    names = ((stem, mats / f'{stem}.mat') for stem in _split_names(root, split))
    samples, missing = _samples(root, 'SegmentationClassContext459', names)
    for sample in list(samples):
        if not sample.source.is_file():
            samples.remove(sample)
            missing[sample.name] = f'no {sample.source.name} in {mats.name}'
    return Conversion(
        name=f'context459_{split}',
        root=root,
        num_classes=459,
        ignore_index=65535,
        expected=SPLITS[split],
        setting=dict(labels='trainval/*.mat'),
        samples=samples,
        missing=missing,
        convert=convert_context_459,
        list_file=root / f'{_LISTS}459' / f'{split}.txt',
    )


def convert_context_459(sample: Sample) -> Converted:
    """Labels 0 to 458, and 65535 where nothing is labelled.

    Raises:
        ValueError: The file has no label map of 1 to 459.
    """
    raw = loadmat(sample.source, variable_names=['LabelMap']).get('LabelMap')
    if raw is None or raw.ndim != 2 or not raw.size:
        raise ValueError(f'{sample.source.name} has no matrix LabelMap')
    if raw.min() < 0 or raw.max() > 459:
        raise ValueError(
            f'{sample.source.name} has the values {raw.min()} to {raw.max()}, not 1 '
            'to 459'
        )
    # 0 wraps around to 65535.
    return Converted(raw.astype(np.uint16) - np.uint16(1))


def read_context_json(path: Path) -> list[ContextImage]:
    """All images of ``trainval_merged.json``, sorted by name.

    Raises:
        ConversionError: The file is missing or not in its format.
    """
    try:
        content = json.loads(path.read_bytes())
        masks: dict[Any, list[tuple[int, str]]] = {}
        for mask in content['annos_segmentation']:
            counts = mask['segmentation']['counts']
            own = masks.setdefault(mask['image_id'], [])
            own.append((mask['category_id'], counts))
        samples = [
            ContextImage(
                stem=Path(image['file_name']).stem,
                split=image['phase'],
                size=(image['height'], image['width']),
                masks=tuple(masks.get(image['image_id'], ())),
            )
            for image in content['images']
        ]
    except FileNotFoundError as error:
        raise ConversionError(f'{path} is missing, see docs/datasets.md') from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConversionError(
            f'{path} is damaged, or not the json of detail-api: '
            f'{type(error).__name__}: {error}'
        ) from error
    return sorted(samples, key=lambda sample: sample.stem)


def _split_names(root: Path, split: str) -> list[str]:
    list_file = root / _LISTS / f'{split}.txt'
    if (root / JSON).is_file():
        samples = read_context_json(root / JSON)
        return [sample.stem for sample in samples if sample.split == split]
    if list_file.is_file():
        return sorted(list_file.read_text(encoding='utf-8').split())
    raise ConversionError(
        f'neither {root / JSON} nor {list_file} is there: one of them has to say which '
        'images belong to the split, see docs/datasets.md'
    )


def _samples(
    root: Path, folder: str, sources: Iterable[tuple[str, Any]]
) -> tuple[list[Sample], dict[str, str]]:
    """Images whose jpg is there, and the others."""
    samples, missing = [], {}
    images = root / 'JPEGImages'
    for stem, source in sources:
        image = images / f'{stem}.jpg'
        if image.is_file():
            samples.append(Sample(stem, image, root / folder / f'{stem}.png', source))
        else:
            missing[stem] = f'no {image.name} in {images.name}'
    return samples, missing
