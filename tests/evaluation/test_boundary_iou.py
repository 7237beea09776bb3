"""Boundary IoU against literal implementations, by hand, and its limits."""

import cv2
import numpy as np
import pytest
from metric_samples import classes, sample, score
from mmengine.evaluator import Evaluator
from mmseg.registry import METRICS
from numpy.lib.stride_tricks import sliding_window_view

from mmseg_ovs.evaluation import BoundaryIoUMetric, OpenVocabIoUMetric
from mmseg_ovs.evaluation.boundary_iou import OUTSIDE, boundary_labels, boundary_width


def blocks(rng, number, shape, cell):
    """Random label map with regions of about ``cell`` pixels and ragged borders."""
    coarse = rng.integers(number, size=(-(-shape[0] // cell), -(-shape[1] // cell)))
    labels = np.kron(coarse, np.ones((cell, cell), int))[: shape[0], : shape[1]]
    noise = rng.random(shape) < 0.02
    return np.where(noise, rng.integers(number, size=shape), labels)


def erode_every_mask(labels, width):
    """As the authors' ``mask_to_boundary``, one class after the other."""
    result = np.full(labels.shape, OUTSIDE)
    for label in np.unique(labels[labels != OUTSIDE]):
        mask = (labels == label).astype(np.uint8)
        framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        eroded = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=width)
        result[(mask - eroded[1:-1, 1:-1]).astype(bool)] = label
    return result


def look_around_every_pixel(labels, width):
    """The definition, without any morphology."""
    framed = np.pad(labels, width, constant_values=OUTSIDE)
    windows = sliding_window_view(framed, (2 * width + 1,) * 2)
    differs = (windows != labels[..., None, None]).any((2, 3))
    return np.where(differs, labels, OUTSIDE)


def literal_boundary_iou(samples, number, ratio, ignore):
    """Mean over classes of summed intersection over summed union, in percent."""
    hits, union = np.zeros(number), np.zeros(number)
    for item in samples:
        label = item['gt_sem_seg']['data'][0].numpy()
        pred = item['pred_sem_seg']['data'][0].numpy()
        height, width = label.shape
        pixels = max(1, int(round(ratio * np.sqrt(height**2 + width**2))))
        for k in range(number):
            regions = []
            for labels in (pred, label):
                mask = np.where((labels == k) & (label != ignore), 1, OUTSIDE)
                regions.append(look_around_every_pixel(mask, pixels) == 1)
            hits[k] += (regions[0] & regions[1]).sum()
            union[k] += (regions[0] | regions[1]).sum()
    scored = union > 0
    return 100 * (hits[scored] / union[scored]).mean()


@pytest.mark.parametrize('cell', [1, 5, 16])
@pytest.mark.parametrize('width', [1, 2, 5, 11, 80])
def test_boundary_is_that_of_every_mask_eroded(width, cell):
    rng = np.random.default_rng(width * 100 + cell)
    labels = blocks(rng, 6, (43, 61), cell)
    labels[blocks(rng, 9, labels.shape, 7) == 0] = OUTSIDE
    found = boundary_labels(labels, width)
    np.testing.assert_array_equal(found, erode_every_mask(labels, width))
    np.testing.assert_array_equal(found, look_around_every_pixel(labels, width))


def test_labels_of_sixteen_bits():
    labels = np.full((9, 9), 65534)
    labels[4, 4] = 0
    found = boundary_labels(labels, 2)
    np.testing.assert_array_equal(found, look_around_every_pixel(labels, 2))


@pytest.mark.parametrize(
    ('shape', 'ratio', 'width'),
    [((480, 640), 0.02, 16), ((3, 4), 0.5, 2), ((3, 4), 0.02, 1), ((6, 8), 0.26, 3)],
)
def test_width(shape, ratio, width):
    assert boundary_width(shape, ratio) == width


@pytest.mark.parametrize('ratio', [0.001, 0.02, 0.08, 0.3])
@pytest.mark.parametrize(('number', 'ignore'), [(7, 255), (300, 65535)])
def test_metric_against_literal(ratio, number, ignore):
    rng = np.random.default_rng(3)
    samples = []
    for shape in [(24, 31), (40, 17), (28, 28), (1, 30)]:
        label = blocks(rng, 5, shape, 9)  # most classes are absent
        pred = np.where(blocks(rng, 2, shape, 6), label, blocks(rng, 6, shape, 8))
        label[blocks(rng, 6, shape, 5) == 0] = ignore
        samples.append(sample(pred, label))
    metric = BoundaryIoUMetric(dilation_ratio=ratio, ignore_index=ignore)
    result = score(metric, samples, dict(classes=classes(number)))
    expected = literal_boundary_iou(samples, number, ratio, ignore)
    assert result == {'boundary/mIoU': pytest.approx(expected, abs=0.0051)}


def square(size, top, left, side):
    labels = np.zeros((size, size), int)
    labels[top : top + side, left : left + side] = 1
    return labels


def test_square_by_hand():
    # Boundaries 2 pixels wide (0.02 x 100 sqrt 2 = 2.8: 3 pixels; so ratio 0.014).
    # Label: 40 x 40 at (30, 30), prediction: the same square 1 pixel to the right.
    meta = dict(classes=('ground', 'square'))
    items = [sample(square(100, 30, 31, 40), square(100, 30, 30, 40))]
    ring = 40**2 - 36**2
    # Intersection of the masks 40 x 39, less the union of the insides 36 x 37.
    both = 40 * 39 - 36 * 37
    on_square = both / (2 * ring - both)
    # Outside: a ring of 2 round the square and one of 2 at the border of the image.
    border = 100**2 - 96**2
    outer = 44**2 - 40**2
    outer_both = 44 * 43 - 40 * 41
    on_ground = (border + outer_both) / (border + 2 * outer - outer_both)
    result = score(BoundaryIoUMetric(dilation_ratio=0.014), items, meta)
    expected = 50 * (on_square + on_ground)
    assert result['boundary/mIoU'] == pytest.approx(expected, abs=0.0051)


def test_stricter_than_miou_and_equal_to_it_at_a_great_width():
    rng = np.random.default_rng(0)
    meta = dict(classes=classes(4))
    label = blocks(rng, 4, (64, 64), 16)
    pred = np.roll(label, 2, (0, 1))
    label[:9, :20] = 255
    items = [sample(pred, label)]
    masks = score(OpenVocabIoUMetric(), items, meta)['mIoU']
    narrow, wide, all_of_it = (
        score(BoundaryIoUMetric(dilation_ratio=r), items, meta)['boundary/mIoU']
        for r in (0.01, 0.06, 1)
    )
    assert narrow < wide < all_of_it == pytest.approx(masks, abs=1e-6)


def test_parts_of_the_vocabulary():
    label = square(60, 20, 20, 20)
    pred = label.copy()
    label[0, 0] = pred[0, 0] = 2
    pred[pred == 1] = 2
    meta = dict(
        classes=('ground', 'square', 'dot', 'absent'),
        seen_classes=['ground', 'absent'],
        groups=dict(things=['square', 'dot']),
    )
    result = score(BoundaryIoUMetric(), [sample(pred, label)], meta)
    assert result['boundary/mIoU_seen'] == 100  # absent is in no mean
    dot = 1 / (1 + 20**2 - 16**2)  # boundaries of 0.02 x 85 = 2 pixels
    assert result['boundary/mIoU_unseen'] == pytest.approx(50 * dot, abs=0.0051)
    assert result['boundary/mIoU_things'] == result['boundary/mIoU_unseen']
    harmonic = 2 * 100 * 50 * dot / (100 + 50 * dot)
    assert result['boundary/hIoU'] == pytest.approx(harmonic, abs=0.0051)
    assert all('Acc' not in name for name in result)


def test_beside_miou_in_one_evaluator():
    kinds = ('mmseg.OpenVocabIoUMetric', 'mmseg.BoundaryIoUMetric')
    evaluator = Evaluator([dict(type=kind) for kind in kinds])
    evaluator.dataset_meta = dict(classes=('ground', 'square'))
    label = square(40, 10, 10, 20)
    evaluator.process([sample(label, label)], {})
    result = evaluator.evaluate(1)
    assert result['mIoU'] == result['boundary/mIoU'] == 100


def test_wrong_arguments_and_labels():
    with pytest.raises(ValueError, match='dilation_ratio has to be above 0, got 0'):
        METRICS.build(dict(type='BoundaryIoUMetric', dilation_ratio=0))
    bad = sample(np.zeros((4, 4)), np.full((4, 4), 7), path='photos/bad.png')
    with pytest.raises(ValueError, match=r'photos/bad\.png.*\[7\].*2 classes'):
        score(BoundaryIoUMetric(), [bad], dict(classes=classes(2)))
