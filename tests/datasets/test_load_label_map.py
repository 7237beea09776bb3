"""The label loader: any number of classes, renumbering, checks, errors."""

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_ovs.datasets import LoadLabelMap


def write(path, labels):
    Image.fromarray(np.asarray(labels)).save(path)
    return str(path)


def load(path, sample=None, **kwargs):
    sample = dict(dict(seg_fields=[], reduce_zero_label=False), **(sample or {}))
    return LoadLabelMap(**kwargs)(dict(sample, seg_map_path=path))['gt_seg_map']


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_ids_above_255_survive(tmp_path, suffix):
    labels = np.array([[0, 255, 256], [846, 65535, 300]], dtype=np.uint16)
    path = write(tmp_path / f'a.{suffix}', labels)
    loaded = load(path, num_classes=847, ignore_index=65535)
    assert loaded.dtype == np.uint16
    np.testing.assert_array_equal(loaded, labels)


@pytest.mark.parametrize('reduce', [False, True])
@pytest.mark.parametrize('label_map', [None, {0: 1, 1: 255, 2: 0, 3: 255}])
def test_small_vocabularies_load_as_in_mmseg(tmp_path, reduce, label_map):
    raw = np.array([[0, 1, 2], [3, 255, 1]], dtype=np.uint8)
    if label_map is None and reduce:
        raw[raw == 0] = 3
    path = write(tmp_path / 'a.png', raw)
    sample = dict(reduce_zero_label=reduce, label_map=label_map, seg_fields=[])
    stock = TRANSFORMS.build(dict(type='LoadAnnotations'))
    expected = stock(dict(sample, seg_map_path=path))['gt_seg_map']
    np.testing.assert_array_equal(load(path, sample, num_classes=4), expected)


@pytest.mark.parametrize(
    ('labels', 'sample', 'expected'),
    [
        # reduce_zero_label writes the ignore_index of the data set
        (
            [0, 1, 256, 65535],
            dict(reduce_zero_label=True, num_classes=400),
            [65535, 0, 255, 65535],
        ),
        # dropped classes are ignored, and class 255 is kept
        (
            [5, 6, 300],
            dict(label_map={5: 255, 6: 65535, 300: 299}, num_classes=300),
            [255, 65535, 299],
        ),
    ],
    ids=['reduced', 'mapped'],
)
def test_renumbering_beyond_255(tmp_path, labels, sample, expected):
    path = write(tmp_path / 'a.png', np.array([labels], dtype=np.uint16))
    assert load(path, dict(sample, ignore_index=65535)).tolist() == [expected]


@pytest.mark.parametrize(
    ('sample', 'kwargs', 'message'),
    [
        # mmseg's 255 for dropped classes, where it is a class
        (
            dict(label_map={19: 255, 6: 255}),
            dict(num_classes=300, ignore_index=65535),
            'OpenVocabSegDataset',
        ),
        ({}, dict(num_classes=19), r'bad\.png.* 19 .*19 classes'),
        ({}, dict(num_classes=847), 'ignore_index=255 is one of the 847'),
        ({}, {}, 'num_classes'),
        ({}, dict(num_classes=20, reduce_zero_label=True), 'reduce_zero_label'),
    ],
)
def test_labels_that_cannot_be_told_are_refused(tmp_path, sample, kwargs, message):
    path = write(tmp_path / 'bad.png', np.array([[0, 19, 255]], dtype=np.uint8))
    with pytest.raises(ValueError, match=message):
        load(path, sample, **kwargs)


@pytest.mark.parametrize('kwargs', [dict(num_classes=19), {}])
def test_values_may_be_left_unchecked(tmp_path, kwargs):
    path = write(tmp_path / 'a.png', np.array([[0, 19, 255]], dtype=np.uint8))
    assert load(path, check_values=False, **kwargs).tolist() == [[0, 19, 255]]


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='missing.png'):
        load(str(tmp_path / 'missing.png'), num_classes=3)
    whole = write(tmp_path / 'whole.png', np.random.randint(0, 3, (64, 64), np.uint8))
    load(whole, num_classes=3)
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'whole.png').read_bytes()[:200])
    (tmp_path / 'broken.png').write_bytes(b'not an image')
    write(tmp_path / 'rgb.png', np.zeros((4, 4, 3), np.uint8))
    messages = dict(broken='broken.png', cut='cut.png', rgb=r'rgb\.png.*\(4, 4, 3\)')
    for name, message in messages.items():
        with pytest.raises(ValueError, match=message):
            load(str(tmp_path / f'{name}.png'), num_classes=3)


def test_palette_files_are_read_as_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 2], [1, 255]], dtype=np.uint8), mode='P')
    image.putpalette([7] * 768)
    image.save(tmp_path / 'p.png')
    loaded = load(str(tmp_path / 'p.png'), num_classes=3)
    assert loaded.tolist() == [[0, 2], [1, 255]]


def test_sample_without_label_passes(tmp_path):
    sample = dict(img_path='x.jpg', seg_fields=[])
    assert LoadLabelMap()(dict(sample)) == sample


def test_training_pipeline_keeps_large_ids(tmp_path):
    labels = np.repeat([[256, 700, 846, 65535]], 40, axis=0).astype(np.uint16)
    labels = np.repeat(labels, 10, axis=1)
    seg = write(tmp_path / 'a.png', labels)
    img = write(tmp_path / 'a.jpg', np.zeros((40, 40, 3), np.uint8))
    wide = dict(ignore_index=65535)
    pipeline = Compose(
        [
            dict(type='LoadImageFromFile'),
            dict(type='LoadLabelMap', num_classes=847, **wide),
            dict(type='Resize', scale=(80, 80)),
            dict(type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.75, **wide),
            dict(type='RandomRotate', prob=1.0, degree=20, seg_pad_val=65535),
            dict(type='RandomFlip', prob=1.0),
            dict(type='PackSegInputs'),
        ]
    )
    packed = pipeline(
        dict(img_path=img, seg_map_path=seg, seg_fields=[], reduce_zero_label=False)
    )
    data = packed['data_samples'].gt_sem_seg.data
    assert data.shape == (1, 64, 64)
    assert set(data.unique().tolist()) <= {256, 700, 846, 65535}
    assert len(data.unique()) > 2


def pair(folder, image, label, exif=1, suffix='jpg'):
    """Paths of an image (H, W), maybe with an EXIF tag, and of a label of a size."""
    tag = Image.Exif()
    tag[0x0112] = exif
    path = folder / f'image.{suffix}'
    Image.fromarray(np.zeros((*image, 3), np.uint8)).save(path, exif=tag)
    return dict(
        img_path=str(path),
        seg_map_path=write(folder / 'label.png', np.zeros(label, np.uint8)),
        seg_fields=[],
        reduce_zero_label=False,
    )


def load_pair(sample, *before, **options):
    steps = [dict(type='LoadImageFromFile'), *before]
    label = dict(type='LoadLabelMap', num_classes=3, **options)
    return Compose([*steps, label])(sample)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp'])
@pytest.mark.parametrize(
    ('image', 'label', 'exif', 'message'),
    [
        ((6, 8), (3, 4), 1, r'label\.png has 4 x 3 .*image\.\w+ has 8 x 6 as loaded'),
        ((6, 8), (6, 8), 6, r'8 x 6 .* has 6 x 8 as loaded.*EXIF orientation 6'),
        ((8, 8), (8, 8), 6, r'label\.png may be .*image\.\w+.* EXIF orientation 6'),
        ((6, 8), (6, 8), 3, 'labels_follow_exif=True'),
    ],
    ids=['half', 'turned', 'square', 'upside down'],
)
def test_a_label_has_the_size_and_position_of_its_image(
    tmp_path, image, label, exif, message, suffix
):
    sample = pair(tmp_path, image, label, exif, suffix)
    if cv2.imread(sample['img_path']).shape[:2] == label and message[0] == '8':
        pytest.skip(f'OpenCV {cv2.__version__} turns no image of this format')
    resize = dict(type='Resize', scale=(16, 16))
    for before in ([], [resize]):  # test pipelines load labels after it
        with pytest.raises(ValueError, match=message):
            load_pair(dict(sample), *before)


@pytest.mark.parametrize(
    ('image', 'label', 'exif', 'options'),
    [
        ((6, 8), (6, 8), 1, {}),
        ((8, 8), (8, 8), 0, {}),  # "undefined", as some cameras write
        ((6, 8), (8, 6), 6, {}),  # drawn on the image as viewers show it
        ((8, 8), (8, 8), 6, dict(labels_follow_exif=True)),
    ],
)
def test_labels_that_fit_after_a_resize(tmp_path, image, label, exif, options):
    sample = pair(tmp_path, image, label, exif)
    loaded = load_pair(sample, dict(type='Resize', scale=(16, 16)), **options)
    assert loaded['gt_seg_map'].shape == label == loaded['ori_shape']


def test_a_label_is_turned_by_its_own_tag(tmp_path):
    tag = Image.Exif()
    tag[0x0112] = 3
    labels = np.array([[0, 1], [2, 0]], np.uint8)
    Image.fromarray(labels).save(tmp_path / 'a.png', exif=tag)
    turned = load(str(tmp_path / 'a.png'), num_classes=3)
    np.testing.assert_array_equal(turned, labels[::-1, ::-1])


def test_an_image_that_is_loaded_without_its_turn(tmp_path):
    sample = pair(tmp_path, (6, 8), (6, 8), 6)
    loader = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
    label = dict(type='LoadLabelMap', num_classes=3)
    assert Compose([loader, label])(sample)['gt_seg_map'].shape == (6, 8)
