"""Scores of all handicaps in one pass: those of the metric at each of them."""

import pytest
import torch
from mmengine.logging import MMLogger

from mmseg_ovs.evaluation import OpenVocabIoUMetric
from mmseg_ovs.evaluation.handicap_curve import (
    CurvePoint,
    HandicapCurve,
    best_point,
    useful_handicaps,
)

CLASSES = ('a', 'b', 'c', 'd', 'e')
SEEN = torch.tensor([True, False, True, True, False])


def test_a_point_is_what_the_metric_says_of_lowered_scores():
    torch.manual_seed(0)
    images = [(torch.rand(5, 9, 8), torch.randint(0, 4, (9, 8))) for _ in range(3)]
    for scores, label in images:
        scores[0] = scores[0].round(decimals=1)  # ties
        scores[1] = scores[1].round(decimals=1)
        label[0] = 255
    handicaps = [0.0, 0.1, 0.4, 2.0]
    curve = HandicapCurve(SEEN, handicaps)
    for scores, label in images:
        curve.add(scores, label)
    MMLogger.get_instance('curve', log_level='ERROR')
    seen = [name for name, known in zip(CLASSES, SEEN, strict=True) if known]
    for point in curve.points():
        metric = OpenVocabIoUMetric(seen_classes=seen)
        metric.dataset_meta = dict(classes=CLASSES)
        for scores, label in images:
            labels = (scores - point.handicap * SEEN[:, None, None]).argmax(dim=0)
            sample = dict(
                pred_sem_seg=dict(data=labels[None]), gt_sem_seg=dict(data=label[None])
            )
            metric.process({}, [sample])
        expected = metric.evaluate(3)
        for ours, name in (
            (point.seen, 'mIoU_seen'),
            (point.unseen, 'mIoU_unseen'),
            (point.harmonic, 'hIoU'),
        ):
            assert ours == pytest.approx(expected[name], abs=0.006)
    assert curve.points()[0].seen > 1 and curve.points()[-1].seen == 0


def test_the_smallest_of_the_best_handicaps_is_chosen():
    points = [
        CurvePoint(handicap, 0, 0, harmonic)
        for handicap, harmonic in ((0, float('nan')), (1, 3), (2, 3), (3, 2))
    ]
    assert best_point(points).handicap == 1


def test_handicaps_end_where_nearly_every_pixel_has_turned():
    leads = torch.cat([torch.linspace(-1, 2, 301), torch.tensor([50.0])])
    handicaps = useful_handicaps(leads, 3)
    assert handicaps[0] == 0 and handicaps[1] == pytest.approx(handicaps[2] / 2)
    assert 1.9 < handicaps[2] < 2.1
