"""Wrong label maps are neither written nor read (right ones: tests/properties)."""

import io

import numpy as np
import pytest
from PIL import Image

from mmseg_ovs.datasets.converters.label_files import count_labels, encode_labels


def test_labels_that_do_not_fit_are_not_written():
    with pytest.raises(ValueError, match=r'0\.\.300 do not fit into uint8'):
        encode_labels(np.array([[0, 300]]), 60)
    with pytest.raises(ValueError, match=r'-1\.\.5 do not fit into uint16'):
        encode_labels(np.array([[-1, 5]]), 847)


@pytest.mark.parametrize(
    ('labels', 'size', 'message'),
    [
        (np.array([[0, 847]], np.uint16), (2, 1), 'the value 847, which is neither'),
        (np.array([[255, 846]], np.uint16), (1, 2), '2 x 1 pixels, the image 1 x 2'),
        (np.array([[0, 1]], np.uint8), (2, 1), 'uint8 of shape .*uint16'),
        (np.zeros((1, 2, 3), np.uint8), (2, 1), 'not one plane'),
    ],
    ids=['value', 'size', 'depth', 'colours'],
)
def test_wrong_label_maps_are_found(labels, size, message):
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, 'PNG')
    with pytest.raises(ValueError, match=message):
        count_labels(buffer.getvalue(), 847, 65535, size)


def test_a_cut_file_is_found():
    labels = np.random.default_rng(0).integers(0, 847, (50, 50))
    content = encode_labels(labels, 847)
    with pytest.raises(ValueError, match='cannot be read'):
        count_labels(content[:-100], 847, 65535, (50, 50))
