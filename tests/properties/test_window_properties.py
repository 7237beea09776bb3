"""Windows of any size and stride cover the image and merge to what was cut."""

import pytest
import torch
from examples import many
from hypothesis import given
from hypothesis import strategies as st

from mmseg_ovs.models.utils import merge_windows, split_windows, window_grid
from mmseg_ovs.models.utils.windows import coverage


@st.composite
def layouts(draw):
    """Size of an image, of its windows, and their stride."""
    side = st.integers(1, 300)
    size, crop = ((draw(side), draw(side)) for _ in range(2))
    # Many windows a side: 40 at most, for time.
    stride = tuple(
        draw(st.integers(max(1, min(c, (s - c) // 40)), c))
        for s, c in zip(size, crop, strict=True)
    )
    return size, crop, stride


@many
@given(layouts())
def test_every_pixel_is_seen_and_no_window_leaves_the_image(layout):
    size, crop, stride = layout
    windows = window_grid(size, crop, stride)
    assert len(set(windows)) == len(windows)
    for window in windows:
        assert 0 <= window.top < window.bottom <= size[0]
        assert 0 <= window.left < window.right <= size[1]
        assert window.size == tuple(map(min, crop, size))
    count = coverage(windows, torch.empty(size))
    assert count.min() >= 1
    assert count.double().sum() == sum(w.size[0] * w.size[1] for w in windows)


def mmseg_starts(length, crop, stride):
    grids = max(length - crop + stride - 1, 0) // stride + 1
    ends = [min(i * stride + crop, length) for i in range(grids)]
    return [max(end - crop, 0) for end in ends]


@many
@given(layouts())
def test_same_layout_as_mmseg(layout):
    rows, columns = (mmseg_starts(*side) for side in zip(*layout, strict=True))
    expected = [(top, left) for top in rows for left in columns]
    assert [(w.top, w.left) for w in window_grid(*layout)] == expected


def test_stride_that_leaves_gaps():
    with pytest.raises(ValueError, match='stride'):
        window_grid((10, 10), (4, 4), (5, 4))


@many
@given(layouts(), st.floats(-1e4, 1e4, width=32))
def test_a_constant_stays_what_it_is(layout, value):
    size, crop, stride = layout
    windows = window_grid(size, crop, stride)
    maps = [torch.full((1, *window.size), value) for window in windows]
    merged = merge_windows(maps, windows, size)
    # The sum of n equal numbers is rounded n times.
    rounding = len(windows) * torch.finfo(merged.dtype).eps
    expected = torch.full((1, *size), value)
    torch.testing.assert_close(merged, expected, rtol=rounding, atol=0)


@many
@given(layouts())
def test_whole_numbers_come_back_exactly(layout):
    size, crop, stride = layout
    windows = window_grid(size, crop, stride)
    image = torch.randint(-1000, 1000, (2, *size)).float()
    parts = split_windows(image, windows)
    assert {part.shape for part in parts} == {(2, *map(min, crop, size))}
    assert torch.equal(merge_windows(parts, windows, size), image)


@many
@given(layouts(), st.integers(0, 2**32 - 1))
def test_each_pixel_is_the_mean_of_the_windows_that_see_it(layout, seed):
    size, crop, stride = layout
    windows = window_grid(size, crop, stride)
    draw = torch.Generator().manual_seed(seed)
    maps = [torch.randn(1, *w.size, generator=draw) for w in windows]
    merged = merge_windows(maps, windows, size)
    y, x = (int(torch.randint(side, (), generator=draw)) for side in size)
    seen = [
        window_map[0, y - w.top, x - w.left]
        for window_map, w in zip(maps, windows, strict=True)
        if w.top <= y < w.bottom and w.left <= x < w.right
    ]
    torch.testing.assert_close(merged[0, y, x], torch.stack(seen).mean())
