"""From labels to masks with names."""

import numpy as np
from PIL import ImageColor

from mmseg_ovs.demo.overlay import ALPHA, make_overlay
from mmseg_ovs.visualization.sheet import LARGEST_PANEL


def test_a_mask_for_every_class_present_the_largest_first():
    labels = np.array([[0, 2, 2, 2], [0, 2, 2, 3]])
    image = np.zeros((2, 4, 3), np.uint8)
    palette = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]], np.uint8)
    overlay = make_overlay(image, labels, ('a', 'b', 'c, d', 'e'), palette)
    names = [name for _, name in overlay.masks]
    assert names == ['c, d (62.5 %)', 'a (25.0 %)', 'e (12.5 %)']
    for (mask, name), label in zip(overlay.masks, (2, 0, 3), strict=True):
        assert np.array_equal(mask, ALPHA * (labels == label))
        rgb = ImageColor.getrgb(overlay.colours[name])
        assert list(rgb) == palette[label].tolist()
    assert overlay.image is image


def test_large_images_are_shown_smaller_with_the_true_shares():
    size = (100, 4 * LARGEST_PANEL)
    labels = np.zeros(size, np.int64)
    labels[:, 3::4] = 1
    image = np.full((*size, 3), 7, np.uint8)
    overlay = make_overlay(image, labels, ('a', 'b'), np.eye(2, 3, dtype=np.uint8))
    assert overlay.image.shape == (25, LARGEST_PANEL, 3)
    assert (overlay.image == 7).all()
    assert [name for _, name in overlay.masks] == ['a (75.0 %)', 'b (25.0 %)']
    assert np.allclose(sum(mask for mask, _ in overlay.masks), ALPHA)
