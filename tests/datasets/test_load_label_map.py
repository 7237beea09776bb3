"""The label loader: any number of classes, renumbering, checks, errors."""

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
    sample = dict(
        seg_map_path=path, seg_fields=[], reduce_zero_label=False, **(sample or {})
    )
    return LoadLabelMap(**kwargs)(sample)['gt_seg_map']


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
    sample = dict(seg_map_path=path, reduce_zero_label=reduce, label_map=label_map)
    stock = TRANSFORMS.build(dict(type='LoadAnnotations'))
    expected = stock(dict(sample, seg_fields=[]))['gt_seg_map']
    ours = LoadLabelMap(num_classes=4)(dict(sample, seg_fields=[]))['gt_seg_map']
    np.testing.assert_array_equal(ours, expected)


def test_reduce_zero_label_writes_the_ignore_index_of_the_data_set(tmp_path):
    path = write(tmp_path / 'a.png', np.array([[0, 1, 256, 65535]], dtype=np.uint16))
    sample = dict(
        seg_map_path=path,
        seg_fields=[],
        reduce_zero_label=True,
        num_classes=400,
        ignore_index=65535,
    )
    loaded = LoadLabelMap()(sample)['gt_seg_map']
    assert loaded.tolist() == [[65535, 0, 255, 65535]]


def test_dropped_classes_are_ignored_and_class_255_is_kept(tmp_path):
    path = write(tmp_path / 'a.png', np.array([[5, 6, 300]], dtype=np.uint16))
    kept = {5: 255, 6: 65535, 300: 299}
    loaded = load(path, dict(label_map=kept, num_classes=300, ignore_index=65535))
    assert loaded.tolist() == [[255, 65535, 299]]


def test_ambiguous_255_of_mmseg_is_refused(tmp_path):
    path = write(tmp_path / 'a.png', np.array([[5]], dtype=np.uint16))
    with pytest.raises(ValueError, match='OpenVocabSegDataset'):
        load(
            path,
            dict(label_map={5: 255, 6: 255}),
            num_classes=300,
            ignore_index=65535,
        )


def test_value_outside_the_classes_names_file_value_and_number(tmp_path):
    path = write(tmp_path / 'bad.png', np.array([[0, 19, 255]], dtype=np.uint8))
    with pytest.raises(ValueError, match=r'bad\.png.* 19 .*19 classes'):
        load(path, num_classes=19)
    unchecked = load(path, num_classes=19, check_values=False)
    assert unchecked.tolist() == [[0, 19, 255]]


def test_ignore_index_which_is_a_class_is_refused(tmp_path):
    path = write(tmp_path / 'a.png', np.array([[3]], dtype=np.uint8))
    with pytest.raises(ValueError, match='ignore_index=255 is one of the 847'):
        load(path, num_classes=847)


def test_unknown_number_of_classes_is_refused(tmp_path):
    path = write(tmp_path / 'a.png', np.array([[3]], dtype=np.uint8))
    with pytest.raises(ValueError, match='num_classes'):
        load(path)
    assert load(path, check_values=False).tolist() == [[3]]


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='missing.png'):
        load(str(tmp_path / 'missing.png'), num_classes=3)
    broken = tmp_path / 'broken.png'
    broken.write_bytes(b'not an image')
    with pytest.raises(ValueError, match='broken.png'):
        load(str(broken), num_classes=3)
    whole = write(tmp_path / 'whole.png', np.random.randint(0, 3, (64, 64), np.uint8))
    cut = tmp_path / 'cut.png'
    cut.write_bytes((tmp_path / 'whole.png').read_bytes()[:200])
    load(whole, num_classes=3)
    with pytest.raises(ValueError, match='cut.png'):
        load(str(cut), num_classes=3)
    rgb = write(tmp_path / 'rgb.png', np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r'rgb\.png.*\(4, 4, 3\)'):
        load(rgb, num_classes=3)


def test_palette_files_are_read_as_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 2], [1, 255]], dtype=np.uint8), mode='P')
    image.putpalette([7] * 768)
    image.save(tmp_path / 'p.png')
    loaded = load(str(tmp_path / 'p.png'), num_classes=3)
    assert loaded.tolist() == [[0, 2], [1, 255]]


def test_sample_without_label_passes(tmp_path):
    sample = dict(img_path='x.jpg', seg_fields=[])
    assert LoadLabelMap()(dict(sample)) == sample


def test_conflicting_reduce_zero_label_is_refused(tmp_path):
    path = write(tmp_path / 'a.png', np.array([[1]], dtype=np.uint8))
    with pytest.raises(ValueError, match='reduce_zero_label'):
        load(path, num_classes=3, reduce_zero_label=True)


def test_training_pipeline_keeps_large_ids(tmp_path):
    labels = np.repeat([[256, 700, 846, 65535]], 40, axis=0).astype(np.uint16)
    labels = np.repeat(labels, 10, axis=1)
    seg = write(tmp_path / 'a.png', labels)
    img = write(tmp_path / 'a.jpg', np.zeros((40, 40, 3), np.uint8))
    pipeline = Compose(
        [
            TRANSFORMS.build(cfg)
            for cfg in (
                dict(type='LoadImageFromFile'),
                dict(type='LoadLabelMap', num_classes=847, ignore_index=65535),
                dict(type='Resize', scale=(80, 80)),
                dict(
                    type='RandomCrop',
                    crop_size=(64, 64),
                    cat_max_ratio=0.75,
                    ignore_index=65535,
                ),
                dict(type='RandomRotate', prob=1.0, degree=20, seg_pad_val=65535),
                dict(type='RandomFlip', prob=1.0),
                dict(type='PackSegInputs'),
            )
        ]
    )
    packed = pipeline(
        dict(img_path=img, seg_map_path=seg, seg_fields=[], reduce_zero_label=False)
    )
    data = packed['data_samples'].gt_sem_seg.data
    assert data.shape == (1, 64, 64)
    assert set(data.unique().tolist()) <= {256, 700, 846, 65535}
    assert len(data.unique()) > 2
