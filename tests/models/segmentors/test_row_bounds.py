"""Rows that win nowhere are left out; the labels are those of all rows."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample

from mmseg_ovs.models.postprocessors import PAMR
from mmseg_ovs.utils import NonFiniteError
from tests.tiny import build, cat_seg, naclip, ovs_dino, talk2dino

ROWS = 200
NAMES = [f'name {i}' for i in range(ROWS)]
IMAGE = torch.randn(3, 56, 70, generator=torch.Generator().manual_seed(4))


def few_win(rows, height, width, draw):
    """Three names a quarter ahead of the others, in large areas."""
    scores = 0.1 * torch.rand(rows, height, width, generator=draw)
    ahead = torch.rand(1, 3, 2, 2, generator=draw)
    scores[torch.tensor([7, 90, 150])] += F.interpolate(ahead, (height, width))[0]
    return scores


def all_win(rows, height, width, draw):
    """Noise: no bound is tight."""
    return torch.rand(rows, height, width, generator=draw)


@pytest.fixture
def count(monkeypatch):
    """Rows that were resized to the size of a view, by call of ``labels``."""
    counts = []

    def labels(model, scores, bounded, images=IMAGE, **test_cfg):
        inference = model.build_inference(**test_cfg)
        draw = torch.Generator().manual_seed(2)
        to_view, rows = inference.to_view, []

        def score(layouts, text):
            return [[scores(ROWS, 4, 5, draw) for _ in x.views] for x in layouts]

        def counted(grid, size):
            rows.append(len(grid))
            return to_view(grid, size)

        monkeypatch.setattr(inference, 'score', score)
        monkeypatch.setattr(inference, 'to_view', counted)
        if not bounded:
            monkeypatch.setattr(inference, 'bounds_hold', lambda grids: False)
        views = len(inference.lay_out(images).views)
        ((found, maps),) = inference([images], [{}], model.vocabulary)
        counts.append(sum(rows) / views)
        return found, maps

    labels.counts = counts
    return labels


@pytest.fixture
def model(request, tmp_path):
    return build(request.param, tmp_path, NAMES)


each = pytest.mark.parametrize(
    'model',
    [talk2dino, ovs_dino, naclip, cat_seg],
    indirect=True,
    ids=lambda s: s.__name__,
)


@each
def test_rows_that_win_nowhere_are_left_out(model, count):
    found, expected = count(model, few_win, True)[0], count(model, few_win, False)[0]
    assert torch.equal(found, expected) and len(found.unique()) >= 3
    assert count.counts[0] < ROWS / 2 < ROWS == count.counts[1]


@each
def test_loose_bounds_leave_all_rows(model, count):
    found, expected = count(model, all_win, True)[0], count(model, all_win, False)[0]
    assert torch.equal(found, expected)
    assert ROWS <= count.counts[0] <= 1.04 * ROWS


@pytest.mark.parametrize('model', [talk2dino], indirect=True, ids=['talk2dino'])
class TestTalk2DINO:
    def test_softmax_of_windows_is_over_all_rows(self, model, count):
        found = count(model, few_win, True, window_softmax=True)[0]
        assert torch.equal(found, count(model, few_win, False, window_softmax=True)[0])

    def test_ties_go_to_the_first(self, model, count):
        def twins(*args):
            scores = few_win(*args)
            scores[[3, 90, 199]] = scores[[150, 7, 90]]
            return scores

        found, expected = (count(model, twins, x)[0] for x in (True, False))
        assert torch.equal(found, expected)
        assert 3 in found and 150 not in found

    def test_scores_that_are_kept_are_complete(self, model, count):
        maps = count(model, few_win, True, keep_logits=True)[1]
        assert len(maps) == ROWS and count.counts == [ROWS]
        assert (maps.flatten(1).amax(dim=1) > 0).all()

    @pytest.mark.parametrize('value', [torch.nan, torch.inf])
    def test_a_value_that_is_none_in_a_row_that_never_wins(self, model, count, value):
        def broken(*args):
            scores = few_win(*args)
            scores[20, 1, 1] = value
            return scores

        with pytest.raises(NonFiniteError):
            count(model, broken, True)


def test_columns_of_pamr_do_not_depend_on_their_neighbours():
    """Else labels of fewer rows could differ where two are nearly equal."""
    draw = torch.Generator().manual_seed(0)
    image = 255 * torch.rand(3, 40, 50, generator=draw)
    scores = torch.rand(33, 40, 50, generator=draw)
    pamr = PAMR()
    prepared = pamr.prepare(image)
    whole = pamr.refine(scores, prepared)
    for rows in ([0], [32, 5], list(range(1, 24)), list(range(9, 33))):
        assert torch.equal(pamr.refine(scores[rows], prepared), whole[rows])


def test_a_whole_prediction(tmp_path):
    """Names as texts, scores by the head."""
    model = build(talk2dino, tmp_path, NAMES)
    sample = [SegDataSample()]
    found = model.predict(IMAGE[None], sample)[0].pred_sem_seg.data
    kept = model.predict(IMAGE[None], sample, keep_logits=True)[0]
    assert torch.equal(found, kept.pred_sem_seg.data)
