"""mIoU: mmseg's figures, and the means over parts of the vocabulary."""

import csv

import numpy as np
import pytest
from metric_samples import classes, sample, score
from mmseg.evaluation import IoUMetric

from mmseg_ovs.evaluation import OpenVocabIoUMetric
from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.structures.seen_names import seen_by_name


def random_samples(number, ignore, absent=(), images=3, seed=0):
    """Labels with ignored pixels, predictions right about half of the time."""
    rng = np.random.default_rng(seed)
    present = np.setdiff1d(np.arange(number), absent)
    samples = []
    for _ in range(images):
        label = rng.choice(present, (40, 50))
        pred = np.where(rng.random((40, 50)) < 0.5, label, rng.choice(present))
        label[rng.random((40, 50)) < 0.1] = ignore
        samples.append(sample(pred, label))
    return samples


@pytest.mark.parametrize('number, ignore', [(7, 255), (150, 255), (847, 65535)])
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(iou_metrics=['mIoU', 'mDice', 'mFscore']),
        dict(nan_to_num=0),
        dict(iou_metrics='mIoU', prefix='val'),
    ],
)
def test_same_figures_as_mmseg(number, ignore, options):
    samples = random_samples(number, ignore, absent=(0, 3))
    meta = dict(classes=classes(number))
    expected = score(IoUMetric(ignore_index=ignore, **options), samples, meta)
    ours = score(OpenVocabIoUMetric(ignore_index=ignore, **options), samples, meta)
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        assert ours[key] == pytest.approx(value, abs=1e-6), key


# Two images of one row; IoU by hand: a 2/4, b 1/4, c 1/1, d 0/1, e absent.
HAND = [
    sample([[0, 0, 1, 0]], [[0, 0, 0, 255]]),
    sample([[1, 0, 2, 3, 3]], [[1, 1, 2, 255, 1]]),
]
HAND_META = dict(classes=tuple('abcde'))


def test_seen_and_unseen_by_hand():
    # a: 2 hits, union 3 + 1; b: 1 hit, union 3 + 1; c: 1 / 1; d: predicted once.
    iou = dict(a=2 / 4, b=1 / 4, c=1.0, d=0.0)
    meta = dict(HAND_META, seen_classes=['a', 'c', 'e'])
    result = score(OpenVocabIoUMetric(), HAND, meta)
    seen = 100 * (iou['a'] + iou['c']) / 2
    unseen = 100 * (iou['b'] + iou['d']) / 2
    assert result['mIoU'] == pytest.approx(100 * sum(iou.values()) / 4, abs=0.005)
    assert result['mIoU_seen'] == pytest.approx(seen, abs=0.005)
    assert result['mIoU_unseen'] == pytest.approx(unseen, abs=0.005)
    harmonic = 2 * seen * unseen / (seen + unseen)
    assert result['hIoU'] == pytest.approx(harmonic, abs=0.005)


def test_argument_overrides_the_data_set():
    meta = dict(HAND_META, seen_classes=['b'], groups=dict(x=['b']))
    metric = OpenVocabIoUMetric(seen_classes=['c'], groups=dict(y=['c']))
    result = score(metric, HAND, meta)
    assert result['mIoU_seen'] == result['mIoU_y'] == 100.0
    assert 'mIoU_x' not in result


def test_seen_by_the_names_of_another_vocabulary():
    names = ('wall', 'Building, edifice', 'kite', 'scooter', 'pottedplant')
    trained = ['wall-brick', 'building-other', 'kite', 'motorcycle', 'potted plant']
    assert seen_by_name(names, trained) == [names[1], names[2], names[4]]
    metric = OpenVocabIoUMetric(seen_vocabulary=trained)
    result = score(metric, HAND, dict(classes=names))
    assert result['mIoU_seen'] == 62.5 and result['mIoU_unseen'] == 25.0
    none = score(OpenVocabIoUMetric(seen_vocabulary=['zebra']), HAND, HAND_META)
    assert np.isnan(none['mIoU_seen']) and none['mIoU_unseen'] == 43.75


def test_seen_classes_of_the_benchmarks():
    trained = Vocabulary.build('coco_stuff_171').rows
    expected = dict(voc_20=20, pascal_context_59=51, ade20k_150=59, coco_stuff_171=171)
    for name, count in expected.items():
        assert len(seen_by_name(Vocabulary.build(name).classes, trained)) == count


def test_groups_crossed_with_seen():
    groups = dict(things=['a', 'b'], stuff=['c', 'd', 'e'])
    meta = dict(HAND_META, seen_classes=['a', 'c'], groups=groups)
    result = score(OpenVocabIoUMetric(), HAND, meta)
    assert result['mIoU_things'] == 37.5
    assert result['mIoU_things_seen'] == 50.0
    assert result['mIoU_things_unseen'] == 25.0
    assert result['mIoU_stuff_seen'] == 100.0
    assert result['mIoU_stuff_unseen'] == 0.0  # e is in neither map: left out


def test_zero_and_empty_parts():
    zero = score(OpenVocabIoUMetric(seen_classes=['a', 'b', 'c']), HAND, HAND_META)
    assert zero['mIoU_unseen'] == 0.0 and zero['hIoU'] == 0.0
    absent = score(OpenVocabIoUMetric(seen_classes=list('abcd')), HAND, HAND_META)
    assert np.isnan(absent['mIoU_unseen']) and np.isnan(absent['hIoU'])
    metric = OpenVocabIoUMetric(seen_classes=list('abcd'), nan_to_num=0)
    filled = score(metric, HAND, HAND_META)
    assert filled['mIoU_unseen'] == 0.0


def test_split_is_logged(logged):
    score(OpenVocabIoUMetric(seen_classes=['a', 'c', 'e']), HAND, HAND_META)
    lines = '\n'.join(logged).splitlines()
    row = next(line for line in lines if ' seen ' in line)
    assert [cell.strip() for cell in row.split('|')[1:5]] == ['seen', '3', '2', '75.0']


def test_figures_of_each_class(tmp_path):
    label = [[0, 0, 1, 255]]
    metric = OpenVocabIoUMetric(per_class_csv=tmp_path / 'a' / 'classes.csv')
    scores = score(metric, [sample([[0, 1, 1, 2]], label)], dict(classes=classes(4)))
    with open(tmp_path / 'a' / 'classes.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['IoU'] for row in rows] == ['50.0000', '50.0000', '', '']
    assert [row['accuracy'] for row in rows] == ['50.0000', '100.0000', '', '']
    assert [row['labelled pixels'] for row in rows] == ['2', '1', '0', '0']
    assert (rows[1]['label'], rows[1]['class']) == ('1', 'class 1')
    assert scores['mIoU'] == 50


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(seen_classes=['a'], seen_vocabulary=['a']), 'not both'),
        (dict(seen_classes=['a', 'zebra']), r"seen_classes names .*\['zebra'\]"),
        (dict(groups=dict(g=['zebra'])), r"group 'g' names .*\['zebra'\]"),
        (dict(ignore_index=65536), '0..65535'),
        (dict(ignore_index=3), "3 is class 'd'"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        score(OpenVocabIoUMetric(**options), HAND, HAND_META)


def test_label_outside_the_vocabulary():
    bad = sample([[0, 1]], [[0, 7]], path='photos/bad.png')
    with pytest.raises(ValueError, match=r'photos/bad\.png.*\[7\].*5 classes'):
        score(OpenVocabIoUMetric(), [bad], HAND_META)


def test_label_of_another_size():
    bad = sample([[0, 1]], [[0], [1]], path='photos/bad.png')
    with pytest.raises(ValueError, match=r'photos/bad\.png.*\(1, 2, 1\).*\(1, 1, 2\)'):
        score(OpenVocabIoUMetric(), [bad], HAND_META)


@pytest.mark.parametrize(
    ('label', 'expected', 'suspicious'),
    [
        ([[0, 1, 2, 4]], '1 of 5 classes have no labelled pixel: d', False),
        ([[0, 0, 0, 255]], 'no labelled pixel: b, c, d, e. 255 means', True),
        ([[0, 1, 2, 4], [3, 3, 3, 3]], None, False),
    ],
)
def test_classes_without_labels_are_listed_in_one_line(
    logged, label, expected, suspicious
):
    score(OpenVocabIoUMetric(), [sample(label, label)], HAND_META)
    lines = [text for text in logged if 'no labelled pixel' in text]
    assert [expected in text for text in lines] == [True] * (expected is not None)
    assert all(text.count('reduce_zero_label') == suspicious for text in lines)


def test_a_single_class_cannot_score_badly(logged):
    score(OpenVocabIoUMetric(), [sample([[0]], [[0]])], dict(classes=('a',)))
    assert any('a is the only class' in text for text in logged)


def test_sample_without_label(tmp_path):
    bare = sample([[0, 3], [1, 1]], [[0, 0], [0, 0]], path='x.png')
    del bare['gt_sem_seg']
    with pytest.raises(ValueError, match=r'x\.png has no label'):
        score(OpenVocabIoUMetric(), [bare], HAND_META)
    metric = OpenVocabIoUMetric(format_only=True, output_dir=str(tmp_path))
    assert score(metric, [bare], HAND_META) == {}
    assert (tmp_path / 'x.png').exists()
    with pytest.raises(ValueError, match='8-bit png'):
        score(metric, [bare], dict(classes=classes(300)))
