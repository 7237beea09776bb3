"""Tiles: every pixel is kept once, with a margin around it."""

import numpy as np
import pytest

from mmseg_ovs.apis.tiles import tiles


@pytest.mark.parametrize(('size', 'margin'), [(32, 4), (16, 0), (10, 4), (33, 16)])
def test_every_pixel_is_kept_once_with_its_margin(size, margin):
    for length in range(1, 150):
        kept = np.zeros((length, 7), int)
        for tile in tiles(length, 7, size, margin):
            box, inner = tile.box, tile.kept
            assert box.height == min(size, length) and box.width == 7
            assert 0 <= box.y <= length - box.height and inner.height > 0
            above = inner.y - box.y
            below = box.y + box.height - inner.y - inner.height
            assert above >= (margin if box.y else 0)
            assert below >= (margin if box.y + box.height < length else 0)
            rows, columns = tile.inner
            assert rows == slice(above, above + inner.height)
            kept[inner.y : inner.y + inner.height][:, columns] += 1
        assert (kept == 1).all()


def test_a_margin_that_leaves_nothing():
    with pytest.raises(ValueError, match='a margin of 8 leaves nothing of tiles of 16'):
        list(tiles(100, 100, 16, 8))
