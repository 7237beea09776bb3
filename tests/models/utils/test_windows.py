"""Windows cover the image and merge back into it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_ovs.models.utils import merge_windows, split_windows, window_grid

sides = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=200, deadline=None)
@given(size=sides, crop=sides, data=st.data())
def test_round_trip(size, crop, data):
    stride = tuple(data.draw(st.integers(1, c)) for c in crop)
    windows = window_grid(size, crop, stride)
    image = torch.randn(2, *size)
    parts = split_windows(image, windows)
    expected = tuple(min(c, s) for c, s in zip(crop, size, strict=True))
    assert all(part.shape == (2, *expected) for part in parts)
    merged = merge_windows([part.clone() for part in parts], windows, size)
    torch.testing.assert_close(merged, image)


def mmseg_starts(length, crop, stride):
    grids = max(length - crop + stride - 1, 0) // stride + 1
    ends = [min(i * stride + crop, length) for i in range(grids)]
    return [max(end - crop, 0) for end in ends]


@settings(max_examples=200, deadline=None)
@given(size=sides, crop=sides, data=st.data())
def test_same_layout_as_mmseg(size, crop, data):
    stride = tuple(data.draw(st.integers(1, c)) for c in crop)
    rows, columns = (
        mmseg_starts(s, c, t) for s, c, t in zip(size, crop, stride, strict=True)
    )
    expected = [(top, left) for top in rows for left in columns]
    windows = window_grid(size, crop, stride)
    assert [(w.top, w.left) for w in windows] == expected


def test_stride_that_leaves_gaps():
    with pytest.raises(ValueError, match='stride'):
        window_grid((10, 10), (4, 4), (5, 4))
