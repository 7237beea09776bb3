"""Labels that change where the video does not."""

import math

import numpy as np
import pytest

from mmseg_ovs.evaluation import Flicker
from mmseg_ovs.utils import OpenVocabError


def frame(right=100):
    """20 x 40 pixels; the right half has a value of its own."""
    image = np.full((20, 40, 3), 100, np.uint8)
    image[:, 20:] = right
    return image


def labels(*columns):
    found = np.zeros((20, 40), np.int64)
    found[:, columns] = 1
    return found


def test_by_hand():
    flicker = Flicker()
    assert math.isnan(flicker.share) and math.isnan(flicker.still)
    flicker.update(frame(), labels())
    assert math.isnan(flicker.share)
    flicker.update(frame(), labels(3))  # 1 of 40 columns
    assert (flicker.share, flicker.still) == (1 / 40, 1)
    # The right half changes, and the two columns that see it: what it does is no matter
    flicker.update(frame(200), labels(3, 4, *range(18, 40)))
    assert flicker.share == pytest.approx(2 / (40 + 18))
    assert flicker.still == pytest.approx((40 + 18) / 80)
    assert flicker.frames == 3


def test_noise_is_no_change_and_tolerance_is_what_counts():
    rng = np.random.default_rng(0)
    noisy = [
        np.clip(frame() + rng.normal(0, 6, (20, 40, 3)), 0, 255).astype(np.uint8)
        for _ in range(2)
    ]
    for tolerance, low, high in [(8, 0.98, 1), (0, 0, 0.1)]:
        flicker = Flicker(tolerance)
        for image in noisy:
            flicker.update(image, labels())
        assert low <= flicker.still <= high


def test_nothing_stays_as_it_is():
    flicker = Flicker()
    flicker.update(frame(), labels())
    flicker.update(frame() // 2, labels(3))
    assert flicker.still == 0 and math.isnan(flicker.share)


def test_sizes_that_do_not_fit():
    with pytest.raises(OpenVocabError, match='labels have .*40, 20.* their frame'):
        Flicker().update(frame(), labels().T)
    flicker = Flicker()
    flicker.update(frame(), labels())
    with pytest.raises(OpenVocabError, match='Frame 1 has .* of one size'):
        flicker.update(frame()[:10], labels()[:10])
    with pytest.raises(OpenVocabError, match='tolerance has to be at least 0'):
        Flicker(-1)


def test_an_array_of_labels_may_be_used_again():
    flicker, found = Flicker(), labels()
    flicker.update(frame(), found)
    found[:, 3] = 1
    flicker.update(frame(), found)
    assert flicker.share == 1 / 40


@pytest.mark.parametrize('image', [frame() / 255, frame()[..., 0]])
def test_frames_of_another_kind(image):
    with pytest.raises(OpenVocabError, match='frame has to be uint8'):
        Flicker().update(image, labels())
