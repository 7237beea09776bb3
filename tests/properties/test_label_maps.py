"""Label maps keep every value from 0 to 65535, and say which one does not belong."""

import io
import zlib

import numpy as np
import pytest
from examples import many
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from mmseg_ovs.datasets import LoadLabelMap
from mmseg_ovs.datasets.converters.label_files import count_labels, encode_labels

shapes = array_shapes(min_dims=2, max_dims=2, max_side=12)
maps16 = arrays(np.uint16, shapes)
numbers = st.sampled_from([255, 256]) | st.integers(1, 65535)


def load(path, num_classes, ignore_index, **sample):
    results = dict(
        seg_map_path=str(path),
        seg_fields=[],
        num_classes=num_classes,
        ignore_index=ignore_index,
        **sample,
    )
    return LoadLabelMap()(results)['gt_seg_map']


@many
@given(labels=maps16, suffix=st.sampled_from(['png', 'tif']))
def test_16_bits_survive(tmp_path, labels, suffix):
    path = tmp_path / f'labels.{suffix}'
    Image.fromarray(labels).save(path)
    loaded = load(path, 65535, 65535)
    assert loaded.dtype == np.uint16
    np.testing.assert_array_equal(loaded, labels)


@many
@given(labels=maps16, num_classes=st.integers(1, 65535), ignore=st.data())
def test_a_value_that_is_no_class_is_named(tmp_path, labels, num_classes, ignore):
    ignore_index = ignore.draw(st.integers(num_classes, 65535))
    content = encode_labels(labels, 65535)
    path = tmp_path / 'labels.png'
    path.write_bytes(content)
    strange = set(labels[labels >= num_classes].tolist()) - {ignore_index}
    if not strange:
        loaded = load(path, num_classes, ignore_index)
        np.testing.assert_array_equal(loaded, labels)
        return
    with pytest.raises(ValueError, match=r'labels\.png has the value (\d+) ') as error:
        load(path, num_classes, ignore_index)
    assert int(str(error.value).split('the value ')[1].split()[0]) in strange


@many
@given(labels=arrays(np.int32, shapes, elements=st.integers(-(2**31), 2**31 - 1)))
def test_32_bits_are_refused_or_kept(tmp_path, labels):
    path = tmp_path / 'labels.tif'
    Image.fromarray(labels).save(path)
    if labels.min() < 0 or labels.max() > 65535:
        with pytest.raises(ValueError, match='outside 0..65535'):
            load(path, 65535, 65535)
    else:
        np.testing.assert_array_equal(load(path, 65535, 65535), labels)


@many
@given(data=st.data(), num_classes=numbers)
def test_what_is_written_is_read_or_not_written(data, num_classes):
    ignore = 255 if num_classes <= 255 else 65535
    right = st.integers(0, num_classes - 1) | st.just(ignore)
    labels = data.draw(maps16 | arrays(np.uint16, shapes, elements=right))
    size = labels.shape[::-1]
    try:
        content = encode_labels(labels, num_classes)
    except ValueError:
        assert num_classes <= 255 and labels.max() > 255
        return
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == ('L' if num_classes <= 255 else 'I;16')
    known = (labels < num_classes) | (labels == ignore)
    if known.all():
        counts = count_labels(content, num_classes, ignore, size)
        found, expected = np.unique(labels, return_counts=True)
        places = np.where(found == ignore, num_classes, found)
        assert counts.shape == (num_classes + 1,)
        assert counts[places].tolist() == expected.tolist()
        assert counts.sum() == labels.size
    else:
        with pytest.raises(ValueError, match='has the value'):
            count_labels(content, num_classes, ignore, size)


@many
@given(labels=maps16, data=st.data())
def test_a_damaged_file_is_an_error_or_a_label_map(tmp_path, labels, data):
    content = bytearray(encode_labels(labels, 65535))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / 'labels.png'
    path.write_bytes(content)
    try:
        loaded = load(path, 65535, 65535)
    except ValueError as error:
        assert 'labels.png' in str(error)
    else:
        assert loaded.dtype == np.uint16 and loaded.ndim == 2
    try:
        count_labels(bytes(content), 65535, 65535, labels.shape[::-1])
    except ValueError as error:
        assert 'label map' in str(error)


def test_a_huge_header_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.new('I;16', (1, 1)).save(buffer, 'PNG')
    content = bytearray(buffer.getvalue())
    content[16:24] = (60_000).to_bytes(4, 'big') * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, 'big')
    path = tmp_path / 'labels.png'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'labels\.png cannot be read.*3600000000'):
        load(path, 3, 255)
    with pytest.raises(ValueError, match='cannot be read.*3600000000'):
        count_labels(bytes(content), 3, 255, (60_000, 60_000))
