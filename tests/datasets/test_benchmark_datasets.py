"""Data sets of labels, on generated files: which files, which classes, renumbering."""

import re

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from mmseg_ovs.datasets import (
    COCOObjectDataset,
    OpenVocabSegDataset,
    PascalContext459Dataset,
    PascalVOC20bDataset,
    PascalVOC20Dataset,
    ShapesDataset,
)
from mmseg_ovs.datasets.sample_errors import SampleError
from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import OpenVocabError

LABELS = [dict(type='LoadLabelMap')]
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    *LABELS,
    dict(type='PackSegInputs'),
]


@pytest.fixture
def build(tmp_path):
    """Builds a data set of one image with the labels; another one is on no list."""

    def build(kind, labels, suffix='.png', pipeline=LABELS, **kwargs):
        labels = np.asarray(labels)
        labels = labels.astype(np.uint8 if labels.max() < 256 else np.uint16)
        for folder in ('images', 'annotations'):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / 'val.txt').write_text('a\n')
        for name in ('a', 'not_listed')[: 1 + ('ann_file' in kwargs)]:
            image = np.zeros((*labels.shape, 3), np.uint8)
            Image.fromarray(image).save(tmp_path / f'images/{name}.jpg')
            Image.fromarray(labels).save(tmp_path / f'annotations/{name}{suffix}')
        prefix = dict(img_path='images', seg_map_path='annotations')
        root = str(tmp_path)
        return kind(data_root=root, data_prefix=prefix, pipeline=pipeline, **kwargs)

    return build


def build_objects(build, labels, **kwargs):
    return build(COCOObjectDataset, labels, '_instanceTrainIds.png', **kwargs)


def test_coco_object_reads_its_own_label_files(build):
    build(COCOObjectDataset, np.full((30, 40), 7), '_labelTrainIds.png')
    labels = np.full((30, 40), 80)
    dataset = build_objects(build, labels, pipeline=PIPELINE, test_mode=True)
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 81
    assert dataset.metainfo['classes'][0] == 'background'
    assert dataset.metainfo['classes'][80] == 'toothbrush'
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 448, 597)
    # The label keeps its size; there is nothing to resize it for.
    assert sample['data_samples'].gt_sem_seg.data.shape == (1, 30, 40)
    assert sample['data_samples'].gt_sem_seg.data.unique().tolist() == [80]


@pytest.mark.parametrize('pipeline', [LABELS, [dict(type='LoadAnnotations')]])
@pytest.mark.parametrize(
    ('kind', 'number', 'first', 'expected'),
    [
        (PascalVOC20Dataset, 20, 'aeroplane', [[255, 0], [19, 255]]),
        (PascalVOC20bDataset, 21, 'aeroplane', [[20, 0], [19, 255]]),
    ],
)
def test_voc_ignores_its_background_or_has_it_last(
    build, kind, number, first, expected, pipeline
):
    labels = [[0, 1], [20, 255]]
    dataset = build(kind, labels, ann_file='val.txt', pipeline=pipeline)
    assert len(dataset) == 1
    assert (
        len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == number
    )
    assert dataset.metainfo['classes'][0] == first
    assert dataset[0]['gt_seg_map'].tolist() == expected


def test_voc20b_has_the_words_of_its_vocabulary():
    classes = PascalVOC20bDataset.METAINFO['classes']
    assert classes == Vocabulary.build('voc_20b_catseg').classes


def test_459_classes_from_a_list(build):
    labels = [[0, 255, 256, 458, 65535]]
    dataset = build(PascalContext459Dataset, labels, ann_file='val.txt')
    assert len(dataset) == 1
    assert dataset[0]['gt_seg_map'].tolist() == labels
    assert dataset.metainfo['classes'][430] == 'unknown'


def test_label_outside_the_classes_is_found_when_read(build):
    dataset = build(PascalVOC20Dataset, [[0, 21]], ann_file='val.txt')
    with pytest.raises(SampleError, match=r'a\.png has the value 20 .*20 classes'):
        dataset[0]


def test_broken_image_is_named(build, tmp_path):
    dataset = build_objects(build, [[0, 1]], pipeline=PIPELINE)
    (tmp_path / 'images' / 'a.jpg').write_bytes(b'')
    for workers in (0, 1):  # of which the message comes without a traceback
        loader = DataLoader(dataset, num_workers=workers, collate_fn=list)
        with pytest.raises(SampleError) as failure:
            list(loader)
        assert re.match(
            r'COCOObjectDataset sample 0, image .*a\.jpg', str(failure.value)
        )


def test_suffixes_are_compared_without_case(tmp_path, warned):
    (tmp_path / 'images' / 'sub').mkdir(parents=True)
    for name in ('b.jpg', 'a.JPG', 'c.jpeg', 'sub/d.Jpg', 'notes.txt'):
        (tmp_path / 'images' / name).write_bytes(b'')
    settings = dict(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=['x'], palette=[[0, 0, 0]]),
        pipeline=[],
    )
    (tmp_path / 'images' / 'e.jpg').symlink_to('gone.jpg')
    dataset = OpenVocabSegDataset(**settings, img_suffix='.jpg')
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [i['img_path'][-5:] for i in infos] == ['a.JPG', 'b.jpg', 'd.Jpg']
    assert infos[0]['seg_map_path'] == f'{tmp_path}/labels/a.png'
    assert dataset.img_suffix == '.jpg'
    assert warned[1].endswith('1 links lead nowhere: e.jpg')
    assert '1 of 4 images are left out' in warned[0] and warned[0].endswith('c.jpeg')
    with pytest.raises(
        OpenVocabError, match="'.png' in .*images, whose files end in: .JPG, .*.txt"
    ):
        OpenVocabSegDataset(**settings, img_suffix='.png')
    with pytest.raises(ValueError, match='into a ConcatDataset'):
        OpenVocabSegDataset(**settings, img_suffix=('.jpg', '.png'))
    (tmp_path / 'none.txt').write_text('')
    with pytest.raises(OpenVocabError, match='none.txt lists no images'):
        OpenVocabSegDataset(**settings, ann_file='none.txt')


def build_voc20b(build, labels, **kwargs):
    return build(PascalVOC20bDataset, labels, ann_file='val.txt', **kwargs)


class Wide(OpenVocabSegDataset):
    """400 classes in 8-bit-safe files are impossible: 16-bit labels."""

    METAINFO = dict(classes=tuple(f'c{i}' for i in range(400)))


def build_wide(build, labels, metainfo):
    metainfo['palette'] = [[0, 0, 0]] * len(metainfo['classes'])
    return build(Wide, labels, ignore_index=65535, metainfo=metainfo)


@pytest.mark.parametrize(
    ('builder', 'classes', 'labels', 'expected'),
    [
        (build_objects, ('toothbrush', 'person'), [0, 1, 2, 80], [255, 1, 255, 0]),
        (build_voc20b, ('background', 'tvmonitor'), [0, 1, 20, 255], [0, 255, 1, 255]),
        # c0 is dropped: c256 becomes label 255, c0 must not.
        (
            build_wide,
            Wide.METAINFO['classes'][1:],
            [0, 1, 256, 399, 65535],
            [65535, 0, 255, 398, 65535],
        ),
    ],
)
def test_subset_of_the_classes(build, builder, classes, labels, expected):
    dataset = builder(build, [labels], metainfo=dict(classes=classes))
    assert dataset[0]['gt_seg_map'].tolist() == [expected]


@pytest.mark.parametrize('own', [True, False], ids=['class', 'metainfo'])
def test_hidden_classes_are_not_in_training(build, own):
    """Neither their pixels nor their names; what is left is numbered anew."""
    kind, names = ShapesDataset, ShapesDataset.METAINFO['classes']
    settings = dict(img_suffix='.jpg', hidden_classes=[names[1]])
    if not own:
        kind, names = OpenVocabSegDataset, ('sky', 'road', 'car')
        settings['metainfo'] = dict(classes=names, palette=[[1], [2], [3]])
        settings['hidden_classes'] = names[1]  # as a command line gives one
    dataset = build(kind, [[0, 1, 2, 255]], **settings)
    assert dataset[0]['gt_seg_map'].tolist() == [[0, 255, 1, 255]]
    meta = dataset.metainfo
    assert meta['classes'][:2] == (names[0], names[2])
    assert len(meta['classes']) == len(meta['palette']) == len(names) - 1
    assert meta['hidden_classes'] == [names[1]]
    if own:
        assert names[1] not in {*meta['seen_classes'], *meta['groups']['things']}
        assert len(meta['seen_classes']) == 87
    else:
        assert meta['palette'] == [[1], [3]]


@pytest.mark.parametrize(
    ('hidden', 'message'),
    [
        (['road', 'cars'], 'OpenVocabSegDataset lacks: cars. It has sky, road, car'),
        (['sky', 'road', 'car'], 'hides every class'),
    ],
)
def test_classes_that_cannot_be_hidden(hidden, message):
    metainfo = dict(classes=('sky', 'road', 'car'), palette=[[1], [2], [3]])
    with pytest.raises(OpenVocabError, match=message):
        OpenVocabSegDataset(metainfo=metainfo, hidden_classes=hidden, lazy_init=True)
