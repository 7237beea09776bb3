"""Run-length masks: equal to pycocotools, and never garbage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mmseg_ovs.utils.rle import decode_mask, encode_mask, run_lengths


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    bits = draw(
        st.lists(st.booleans(), min_size=height * width, max_size=height * width)
    )
    return np.array(bits).reshape(height, width)


@given(masks())
def test_round_trip_and_runs_are_those_of_pycocotools(mask):
    counts = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(counts, mask.shape), mask)
    lengths = run_lengths(counts)
    # Runs as an uncompressed mask, read by pycocotools itself.
    plain = coco_mask.frPyObjects(
        dict(size=list(mask.shape), counts=lengths), *mask.shape
    )
    assert plain['counts'].decode() == counts


@given(masks(), st.data())
def test_a_changed_string_is_refused_or_a_mask_of_the_right_size(mask, data):
    """pycocotools alone hands out memory that nobody wrote."""
    counts = encode_mask(mask)
    place = data.draw(st.integers(0, len(counts)))
    end = data.draw(st.integers(place, len(counts)))
    broken = counts[:place] + data.draw(st.text(max_size=3)) + counts[end:]
    try:
        decoded = decode_mask(broken, mask.shape)
    except ValueError:
        return
    runs = run_lengths(broken)
    assert decoded.shape == mask.shape
    assert decoded.max() <= 1
    assert decoded.sum() == sum(runs[1::2])


def test_a_large_run():
    mask = np.zeros((3000, 2000), bool)
    mask[1500:, 1999] = True
    np.testing.assert_array_equal(decode_mask(encode_mask(mask), mask.shape), mask)


@pytest.mark.parametrize(
    'counts, words',
    [
        ('', 'no compressed'),
        (None, 'no compressed'),
        (b'5', 'no compressed'),
        ([3, 4], 'no compressed'),
        ('5', '5 pixels, the image of 4 x 4 has 16'),
        ('P', 'within a number'),
        ('O', 'run 0 is negative'),
        ('\x10', 'character 0'),
        ('é', 'character 0'),
        ('P' * 40, 'character'),
    ],
)
def test_broken_strings(counts, words):
    with pytest.raises(ValueError, match=words):
        decode_mask(counts, (4, 4))
