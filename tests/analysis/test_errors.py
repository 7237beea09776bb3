"""Error analysis of hand-made label maps, and the command on files."""

import csv

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmseg_ovs.analysis import ErrorCounts
from mmseg_ovs.analysis.errors import OUTSIDE, PARTITIONS, component_areas, thin_pixels
from mmseg_ovs.utils import OpenVocabError
from tests.tool_loader import load_tool

main = load_tool('tools/analysis/errors.py').main
IGNORE = 255


def test_parts_add_up_to_the_whole():
    rng = np.random.default_rng(0)
    counts = ErrorCounts(4, areas=(3, 30), radius=1)
    for _ in range(3):
        label = rng.integers(0, 4, (8, 10)).repeat(4, 0).repeat(3, 1)
        prediction = np.where(rng.random(label.shape) < 0.3, 3, label)
        label[rng.random(label.shape) < 0.1] = IGNORE
        counts.update(prediction, label)
    hits = np.diag(counts.confusion)
    for key in PARTITIONS:
        assert (counts.right[key].sum(0) == hits).all()
        assert (counts.labelled[key].sum(0) == counts.confusion.sum(1)).all()
        assert (counts.false[key].sum(0) == counts.confusion.sum(0) - hits).all()
        assert (counts.labelled[key].sum(1) > 0).sum() > 1  # not all in one part


def test_objects_by_size():
    """A square of 4 pixels is missed, one of 100 found but for a row of 10."""
    label = np.zeros((40, 40), int)
    label[2:4, 2:4] = 1
    label[10:20, 10:20] = 1
    prediction = np.zeros_like(label)
    prediction[11:20, 10:20] = 1
    prediction[30:32, 30:32] = 1  # a false alarm, as small as the one missed
    counts = ErrorCounts(2, areas=(4, 1000))
    counts.update(prediction, label)
    small, medium, large = counts.iou('size')[:, 1]
    assert (small, medium) == (0, 0.9) and np.isnan(large)
    assert counts.false['size'][:, 1].tolist() == [4, 0, 0]
    scores = {(row.partition, row.part): row for row in counts.scores()}
    assert scores['size', 'small'].classes == 1
    assert scores['size', 'small'].share == 4 / 1600
    assert scores['size', 'small'].iou == 0
    assert scores['all', 'all'].accuracy == pytest.approx((90 / 104 + 1492 / 1496) / 2)


def test_components_touch_at_corners_and_are_of_one_class():
    labels = np.array([[1, 0, 2], [0, 1, 2], [OUTSIDE, 2, 1]])
    areas = component_areas(labels)
    assert areas.tolist() == [[3, 2, 3], [2, 3, 3], [0, 3, 3]]


def test_a_pole_is_thin_and_a_wall_is_not():
    label = np.zeros((60, 60), int)
    label[:, 30:33] = 1  # 3 pixels across
    label[40:, :20] = 2  # at the border of the image
    thin = thin_pixels(label, 2)
    assert thin[:, 30:33].all() and not thin[label == 2][:-1].all()
    assert not thin[45:, :15].any() and not thin[:35, :25].any()
    assert not thin_pixels(label, 1)[:, 30:33].any()


def test_thin_pixels_are_those_of_the_opening_of_each_mask():
    rng = np.random.default_rng(1)
    noise = cv2.GaussianBlur(rng.random((80, 90)).astype(np.float32), (0, 0), 2)
    labels = np.digitize(noise, np.quantile(noise, [0.3, 0.5, 0.8]))
    side = np.arange(-3, 4)
    disc = (side[:, None] ** 2 + side**2 <= 3.5**2).astype(np.uint8)
    expected = np.ones(labels.shape, bool)
    for label in range(4):
        mask = (labels == label).astype(np.uint8)
        expected &= cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc) == 0
    assert 0.1 < expected.mean() < 0.9
    assert (thin_pixels(labels, 3) == expected).all()


def test_who_takes_whose_pixels():
    label = np.array([[0] * 10, [1] * 10, [2] * 5 + [IGNORE] * 5])
    prediction = np.array([[0] * 6 + [1] * 4, [0] * 9 + [2], [2] * 5 + [1] * 5])
    counts = ErrorCounts(3)
    counts.update(prediction, label)
    assert counts.pairs() == [(1, 0, 9, 0.9), (0, 1, 4, 0.4), (1, 2, 1, 0.1)]


def test_mistakes():
    counts = ErrorCounts(2)
    one = np.zeros((4, 4), int)
    with pytest.raises(OpenVocabError, match='the label \\(4, 3'):
        counts.update(one, one[:, :3])
    with pytest.raises(OpenVocabError, match='prediction has the values 0 to 2'):
        counts.update(one + 2 * np.eye(4, dtype=int), one)
    with pytest.raises(OpenVocabError, match='label has the values 2 to 2'):
        counts.update(one, one + 2)
    for wrong in (dict(areas=(9, 9)), dict(radius=0), dict(dilation_ratio=0)):
        with pytest.raises(OpenVocabError):
            ErrorCounts(2, **wrong)
    assert not counts.confusion.any()


@pytest.fixture
def data(tmp_path):
    """A config with two images; 0 in the files of labels is not labelled."""
    label = np.ones((30, 40), np.uint8)
    label[5:20, 5:20] = 2
    label[:2] = 0
    for name in ('a', 'b'):
        for folder, picture in (('images', label * 100), ('labels', label)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), picture)
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        metainfo=dict(classes=('ground', 'box')),
        reduce_zero_label=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadLabelMap', num_classes=2),
        ],
    )
    cfg = dict(model=dict(type='X'), test_dataloader=dict(dataset=dataset))
    Config(cfg).dump(tmp_path / 'cfg.py')
    return tmp_path


def run(data, *more):
    main(
        [str(data / 'cfg.py'), '--predictions', str(data / 'pred')]
        + ['--out', str(data / 'out'), *more]
    )


def write_predictions(data, change=lambda labels: labels):
    (data / 'pred').mkdir()
    for name in ('a', 'b'):
        labels = cv2.imread(str(data / 'labels' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(data / 'pred' / f'{name}.png'), change(np.maximum(labels, 1)))


def test_the_command(data, capsys):
    def wrong(labels):
        labels[5:8, 5:20] = 1  # a fifth of the box
        return labels

    write_predictions(data, wrong)
    run(data, '--areas', '300', '400')
    page = (data / 'out/errors.md').read_text(encoding='utf-8')
    assert page in capsys.readouterr().out
    assert '| box | ground | 20.0 | 90 |' in page
    assert '| size: small | 20.1 | 1 | 80.00 | 80.00 |' in page
    with (data / 'out/classes.csv').open(newline='') as file:
        ground, box = csv.DictReader(file)
    assert (ground['IoU small'], box['IoU small']) == ('', '80.0000')
    assert (ground['taken by'], box['taken by']) == ('', 'ground 20.0%')
    assert cv2.imread(str(data / 'out/confusion.png')).std() > 10


def test_the_command_without_an_error(data):
    write_predictions(data)
    run(data)
    page = (data / 'out/errors.md').read_text(encoding='utf-8')
    assert 'None: every labelled pixel is right.' in page
    assert '| all | 100.0 | 2 | 100.00 | 100.00 |' in page
    assert not (data / 'out/confusion.png').exists()


def test_the_command_without_a_label(data):
    write_predictions(data)
    for file in (data / 'labels').iterdir():
        labels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(file), np.full_like(labels, IGNORE))
    with pytest.raises(SystemExit, match='No pixel of the 2 images is labelled'):
        run(data)
    assert not (data / 'out').exists()


def test_the_command_on_files_that_do_not_fit(data):
    with pytest.raises(SystemExit, match='a.png is not there: write the predictions'):
        run(data)
    write_predictions(data, lambda labels: labels + 1)
    with pytest.raises(SystemExit, match='a: the prediction has the values 1 to 2'):
        run(data)
    file = data / 'pred/a.png'
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(SystemExit, match='a: label map .* cannot be read'):
        run(data)
    with pytest.raises(SystemExit, match='areas have to rise'):
        run(data, '--areas', '5', '5')
    assert not (data / 'out').exists()
