"""Outlines: exact, whatever the mask, and filled again as they were."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmseg_ovs.apis.outlines import outlines


def masks():
    rng = np.random.default_rng(0)
    for _ in range(60):
        yield rng.random(rng.integers(1, 9, 2)) < rng.random()
    blobs = cv2.resize(rng.random((30, 40)), (320, 240), interpolation=cv2.INTER_CUBIC)
    yield blobs > 0.5
    yield np.ones((5, 7), bool)
    yield np.zeros((5, 7), bool)
    yield np.eye(6, dtype=bool)
    yield ~np.eye(6, dtype=bool)[::-1]


def area(ring):
    """By the shoelace formula; negative for holes."""
    x, y = ring.T
    return (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2


def test_the_area_and_the_number_of_regions_are_exact():
    for mask in masks():
        found = outlines(mask)
        regions, _ = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
        assert len(found) == regions - 1
        total = 0
        for shell, holes in found:
            assert area(shell) > 0 and all(area(hole) < 0 for hole in holes)
            total += area(shell) + sum(map(area, holes))
        assert total == mask.sum()


def test_one_ring_fills_the_same_pixels():
    for mask in masks():
        filled = np.zeros(mask.shape, int)
        for outline in outlines(mask):
            ring = outline.as_one_ring()
            assert area(ring) == area(outline.shell) + sum(map(area, outline.holes))
            rles = coco_mask.frPyObjects([ring.ravel().tolist()], *mask.shape)
            filled += coco_mask.decode(coco_mask.merge(rles))
        assert np.array_equal(filled, mask)


@pytest.mark.parametrize('pixel', [(0, 0), (2, 3)])
def test_a_pixel_is_a_square(pixel):
    mask = np.zeros((3, 4), bool)
    mask[pixel] = True
    (outline,) = outlines(mask)
    y, x = pixel
    square = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]]
    assert outline.shell.tolist() == square and not outline.holes
