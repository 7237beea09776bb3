"""COCO-Object, VOC20 and the base class, on generated files."""

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_ovs.datasets import (
    COCOObjectDataset,
    OpenVocabSegDataset,
    PascalVOC20Dataset,
)

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    dict(type='LoadLabelMap'),
    dict(type='PackSegInputs'),
]


def make(root, name, suffix, labels, folder=('images', 'annotations')):
    for part in folder:
        (root / part).mkdir(exist_ok=True)
    labels = np.asarray(labels, dtype=np.uint8)
    image = np.zeros((*labels.shape, 3), np.uint8)
    Image.fromarray(image).save(root / folder[0] / f'{name}.jpg')
    Image.fromarray(labels).save(root / folder[1] / f'{name}{suffix}')


PREFIX = dict(img_path='images', seg_map_path='annotations')


def test_coco_object_reads_its_own_label_files(tmp_path):
    make(tmp_path, '0001', '_instanceTrainIds.png', np.full((30, 40), 80))
    make(tmp_path, '0001', '_labelTrainIds.png', np.full((30, 40), 7))
    dataset = COCOObjectDataset(
        data_root=str(tmp_path), data_prefix=PREFIX, pipeline=PIPELINE, test_mode=True
    )
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 81
    assert dataset.metainfo['classes'][0] == 'background'
    assert dataset.metainfo['classes'][80] == 'toothbrush'
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 448, 597)
    # The label keeps its size; there is nothing to resize it for.
    assert sample['data_samples'].gt_sem_seg.data.shape == (1, 30, 40)
    assert sample['data_samples'].gt_sem_seg.data.unique().tolist() == [80]


def test_voc20_ignores_background_and_border(tmp_path):
    make(tmp_path, 'a', '.png', [[0, 1], [20, 255]])
    make(tmp_path, 'not_listed', '.png', [[0, 1], [20, 255]])
    (tmp_path / 'val.txt').write_text('a\n')
    dataset = PascalVOC20Dataset(
        ann_file='val.txt',
        data_root=str(tmp_path),
        data_prefix=PREFIX,
        pipeline=PIPELINE,
    )
    assert len(dataset) == 1
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 20
    assert dataset.metainfo['classes'][0] == 'aeroplane'
    labels = dataset[0]['data_samples'].gt_sem_seg.data[0]
    assert labels.tolist() == [[255, 0], [19, 255]]


def test_label_outside_the_classes_is_found_when_read(tmp_path):
    make(tmp_path, 'a', '.png', [[0, 21]])
    (tmp_path / 'val.txt').write_text('a\n')
    dataset = PascalVOC20Dataset(
        ann_file='val.txt',
        data_root=str(tmp_path),
        data_prefix=PREFIX,
        pipeline=PIPELINE,
    )
    with pytest.raises(RuntimeError, match=r'a\.png has the value 20 .*20 classes'):
        dataset[0]


def test_broken_image_is_named(tmp_path):
    make(tmp_path, 'a', '_instanceTrainIds.png', [[0, 1]])
    (tmp_path / 'images' / 'a.jpg').write_bytes(b'')
    dataset = COCOObjectDataset(
        data_root=str(tmp_path), data_prefix=PREFIX, pipeline=PIPELINE
    )
    with pytest.raises(RuntimeError, match=r'sample 0, image .*a\.jpg'):
        dataset[0]


def test_subset_of_the_classes(tmp_path):
    make(tmp_path, 'a', '_instanceTrainIds.png', [[0, 1, 2, 80]])
    dataset = COCOObjectDataset(
        data_root=str(tmp_path),
        data_prefix=PREFIX,
        pipeline=PIPELINE,
        metainfo=dict(classes=('toothbrush', 'person')),
    )
    labels = dataset[0]['data_samples'].gt_sem_seg.data[0]
    assert labels.tolist() == [[255, 1, 255, 0]]


class Wide(OpenVocabSegDataset):
    """400 classes in 8-bit-safe files are impossible: 16-bit labels."""

    METAINFO = dict(classes=tuple(f'c{i}' for i in range(400)))


def test_subset_of_more_than_255_classes_keeps_class_255(tmp_path):
    make(tmp_path, 'a', '.png', [[0]])
    raw = np.array([[0, 1, 256, 399, 65535]], dtype=np.uint16)
    Image.fromarray(raw).save(tmp_path / 'annotations' / 'a.png')
    # Drop c0: c256 becomes label 255, c0 must not.
    dataset = Wide(
        data_root=str(tmp_path),
        data_prefix=PREFIX,
        pipeline=[dict(type='LoadLabelMap')],
        ignore_index=65535,
        metainfo=dict(classes=Wide.METAINFO['classes'][1:], palette=[[0, 0, 0]] * 399),
    )
    assert dataset[0]['gt_seg_map'].tolist() == [[65535, 0, 255, 398, 65535]]


def test_registered():
    for name in ('COCOObjectDataset', 'PascalVOC20Dataset', 'COCOCaptionsDataset'):
        assert DATASETS.get(name) is not None
