"""COCO-Object: the 80 things of COCO and background, 0 to 80.

Facts: Xu et al., "GroupViT" (CVPR 2022), xvjiarui/GroupViT
``convert_dataset/convert_coco_object.py``, whose benchmark is made of COCO-Stuff's
pixel maps; stuff and unlabelled pixels are background, and nothing is ignored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from mmseg_ovs.jobs import file_digest

from .conversion import Conversion, ConversionError, Converted, Sample

NUM_CLASSES = 81
SPLITS = {'train': 118287, 'val': 5000}
SOURCES = ('maps', 'instances')

# Thing numbers of the pixel maps (COCO's category id - 1); 10 of 0..89 were never used.
_THINGS = sorted(set(range(90)) - {11, 25, 28, 29, 44, 65, 67, 68, 70, 82})
_OF_CATEGORY = {thing + 1: label for label, thing in enumerate(_THINGS, 1)}
_UNKNOWN = 254
_OF_MAP = np.full(256, _UNKNOWN, dtype=np.uint8)
_OF_MAP[_THINGS] = np.arange(1, NUM_CLASSES)
_OF_MAP[91:182] = 0  # stuff
_OF_MAP[255] = 0


def plan_coco_object(root: Path, split: str, source: str = 'maps') -> Conversion:
    """Plan ``annotations/{train,val}2017/*_instanceTrainIds.png``.

    Args:
        root: ``coco_stuff164k``: ``images/{train,val}2017`` and, in ``annotations``,
            either ``{train,val}2017/*.png`` (COCO-Stuff's pixel maps) or
            ``instances_{train,val}2017.json``.
        split: 'train' or 'val'.
        source: 'maps', as in the papers; 'instances', for those who lack the maps:
            crowds and large objects first, small ones on top, so that single pixels at
            borders and overlaps differ from the papers'.

    Raises:
        ConversionError: The folder or the json is missing, or not in its format.
    """
    folder = f'{split}2017'
    images = root / 'images' / folder
    if not images.is_dir():
        raise ConversionError(f'there is no folder {images}')
    found = {path.stem for path in images.glob('*.jpg')}
    labels = root / 'annotations' / folder
    setting = dict(source=source)
    if source == 'maps':
        # Raw maps are named by the image alone; converted ones have an underscore.
        sources = {p.stem: p for p in labels.glob('*.png') if '_' not in p.stem}
        lacking, convert = f'no {{}}.png in annotations/{folder}', convert_map
    else:
        file = root / 'annotations' / f'instances_{folder}.json'
        sources = _read_instances(file)
        lacking, convert = f'{{}} is not in {file.name}', convert_instances
        setting[file.name] = file_digest(file)

    samples, missing = [], {}
    for stem in sorted(found | sources.keys()):
        if stem not in found:
            missing[stem] = f'no {stem}.jpg in images/{folder}'
        elif stem not in sources:
            missing[stem] = lacking.format(stem)
        else:
            target = labels / f'{stem}_instanceTrainIds.png'
            image = images / f'{stem}.jpg'
            samples.append(Sample(stem, image, target, sources[stem]))
    return Conversion(
        name=f'coco_object_{split}',
        root=root,
        num_classes=NUM_CLASSES,
        ignore_index=255,
        expected=SPLITS[split],
        setting=setting,
        samples=samples,
        missing=missing,
        convert=convert,
    )


def convert_map(sample: Sample) -> Converted:
    """Labels from a pixel map of COCO-Stuff.

    Raises:
        ValueError: It is not one plane of 8 bits, or has a number never used.
    """
    with Image.open(sample.source) as file:
        raw = np.array(file)
    if raw.ndim != 2 or raw.dtype != np.uint8:
        raise ValueError(f'{sample.source.name} is not one plane of 8 bits')
    labels = _OF_MAP[raw]
    if (labels == _UNKNOWN).any():
        raise ValueError(
            f'{sample.source.name} has the value {raw[labels == _UNKNOWN][0]}, which '
            "is none of COCO-Stuff's: it expects stuffthingmaps as downloaded"
        )
    return Converted(labels)


def convert_instances(sample: Sample) -> Converted:
    """Labels from COCO's instances."""
    height, width = sample.source['size']
    labels = np.zeros((height, width), dtype=np.uint8)
    # The largest first; a crowd may not hide the objects in it.
    order = sorted(
        sample.source['instances'], key=lambda a: (-a['iscrowd'], -a['area'], a['id'])
    )
    for instance in order:
        runs = instance['segmentation']
        if isinstance(runs, list) or isinstance(runs['counts'], list):
            runs = coco_mask.frPyObjects(runs, height, width)
        if isinstance(runs, list):  # parts of one object
            runs = coco_mask.merge(runs)
        labels[coco_mask.decode(runs) > 0] = _OF_CATEGORY[instance['category_id']]
    return Converted(labels)


def _read_instances(path: Path) -> dict[str, dict[str, Any]]:
    """Size and instances of each image by its name without suffix."""
    try:
        content = json.loads(path.read_bytes())
        categories = {category['id'] for category in content['categories']}
        if categories != _OF_CATEGORY.keys():
            raise ValueError("its categories are not COCO's 80")
        samples = {
            image['id']: (
                Path(image['file_name']).stem,
                dict(size=(image['height'], image['width']), instances=[]),
            )
            for image in content['images']
        }
        keys = ('id', 'category_id', 'area', 'iscrowd', 'segmentation')
        for instance in content['annotations']:
            kept = {key: instance[key] for key in keys}
            samples[instance['image_id']][1]['instances'].append(kept)
    except FileNotFoundError as error:
        raise ConversionError(f'{path} is missing') from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConversionError(
            f"{path} is damaged, or not COCO's json of instances: "
            f'{type(error).__name__}: {error}'
        ) from error
    return dict(samples.values())
