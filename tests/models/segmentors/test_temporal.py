"""Scores of frames that take over those of the frames before."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_ovs.models.segmentors import build_temporal
from mmseg_ovs.models.segmentors.temporal import nearest_patches
from mmseg_ovs.utils import OpenVocabError
from tests.models.conftest import NAMES
from tests.models.segmentors.running import FEATURES, LOGITS, SLIDE, make_image, run

GREY = torch.full((3, 40, 60), 100.0)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def propagate(**settings):
    return build_temporal(dict(type='propagate', **settings))


def test_smoothing_by_its_definition_and_the_cut():
    strategy = build_temporal(dict(type='smooth', share=0.75, cut=30))
    first, second, third = draw(3, 5, 4, 6)
    assert torch.equal(strategy.follow(GREY, [first], None)[0], first)
    (mixed,) = strategy.follow(GREY + 20, [second], None)
    torch.testing.assert_close(mixed, 0.75 * first + 0.25 * second)
    assert torch.equal(strategy.follow(GREY + 60, [third], None)[0], third)  # a cut
    (mixed,) = strategy.follow(GREY + 60, [first], None)
    torch.testing.assert_close(mixed, 0.75 * third + 0.25 * first)


def test_nearest_patches_by_their_definition():
    query, sources = F.normalize(draw(7, 4, 6), dim=0), F.normalize(draw(2, 7, 4, 6), 1)
    alike, index = nearest_patches(query, sources, radius=1, count=4)
    for place in range(24):
        y, x = divmod(place, 6)
        found = {}
        for frame in range(2):
            for v in range(max(0, y - 1), min(4, y + 2)):
                for u in range(max(0, x - 1), min(6, x + 2)):
                    cosine = query[:, y, x] @ sources[frame, :, v, u]
                    found[frame * 24 + v * 6 + u] = cosine.item()
        best = sorted(found, key=found.get, reverse=True)[:4]
        assert index[place].tolist() == best
        assert alike[place].tolist() == pytest.approx([found[i] for i in best])


def test_scores_follow_what_moves():
    """All moves a patch to the right; what was there before wins over noise."""
    strategy = propagate(frames=1, neighbours=1, radius=1, temperature=0.1)
    features, scores, noise = draw(64, 5, 8), draw(3, 5, 8), draw(3, 5, 8, seed=1)
    strategy.follow(GREY, [scores], [features])
    (mixed,) = strategy.follow(GREY, [noise], [features.roll(1, dims=2)])
    expected = (scores.roll(1, dims=2) + noise) / 2  # alike 1, as its own
    torch.testing.assert_close(mixed[..., 1:], expected[..., 1:])


def test_after_a_cut_the_frames_own_scores_win():
    strategy = propagate()
    features, scores = draw(3, 256, 5, 8), draw(3, 3, 5, 8, seed=1)
    for i in (0, 0, 1):
        (mixed,) = strategy.follow(GREY, [scores[i]], [features[i]])
        assert (mixed - scores[i]).abs().max() < 0.05


def test_a_still_video_settles():
    strategy = propagate()
    features, truth = draw(64, 5, 8), draw(3, 5, 8)
    noisy = [truth + draw(3, 5, 8, seed=i) for i in range(1, 30)]
    for scores in noisy:
        (mixed,) = strategy.follow(GREY, [scores], [features])
    assert (mixed - truth).std() < 0.7 * (noisy[-1] - truth).std()


def test_finer_scores_keep_their_details():
    strategy = propagate(frames=1, neighbours=1, radius=0)
    features, first, second = draw(64, 5, 8), draw(3, 10, 16), draw(3, 10, 16, seed=1)
    strategy.follow(GREY, [first], [features])
    (mixed,) = strategy.follow(GREY, [second], [features])
    change = F.adaptive_avg_pool2d((first - second) / 2, (5, 8))
    wide = F.interpolate(change[None], (10, 16), mode='bilinear')[0]
    torch.testing.assert_close(mixed, second + wide)
    for kept in (*strategy.memory[0][0],):  # features, and scores on their grid
        assert kept.numel() in (64 * 40, 3 * 40)


@pytest.mark.parametrize('settings', [{}, SLIDE, FEATURES, LOGITS])
@pytest.mark.parametrize('name', ['smooth', 'propagate'])
def test_in_every_mode_together_or_one_by_one(build_segmentor, settings, name):
    model = build_segmentor(test_cfg=settings)
    frames = [make_image(56, 70, seed=i // 2) for i in range(4)]
    plain = run(model, frames, keep_logits=True)
    together = run(
        model,
        frames,
        keep_logits=True,
        temporal=build_temporal(dict(type=name, **extreme(name))),
    )
    strategy = build_temporal(dict(type=name, **extreme(name)))
    for i, frame in enumerate(frames):
        (alone,) = run(model, [frame], keep_logits=True, temporal=strategy)
        scores = together[i].seg_logits.data
        torch.testing.assert_close(alone.seg_logits.data, scores, rtol=1e-3, atol=1e-4)
        same = torch.allclose(scores, plain[i].seg_logits.data, rtol=1e-3, atol=1e-4)
        assert same == (i == 0 or (name == 'smooth' and i == 1))


def extreme(name):
    """So that two frames of nothing in common still mix."""
    return dict(cut=255.0) if name == 'smooth' else dict(temperature=10.0)


def test_frames_of_another_size_are_refused():
    strategy = propagate()
    strategy.follow(GREY, [draw(3, 5, 8)], [draw(64, 5, 8)])
    with pytest.raises(OpenVocabError, match='has 40 x 60 .* those before 60 x 40'):
        strategy.follow(GREY.mT, [draw(3, 8, 5)], [draw(64, 8, 5)])


@pytest.mark.parametrize('name', ['smooth', 'propagate'])
@pytest.mark.parametrize(
    'changed',
    [
        dict(vocabulary=NAMES[::-1]),
        dict(vocabulary=NAMES[:1]),
        dict(mode='whole'),
    ],
)
def test_scores_of_something_else_are_not_mixed(build_segmentor, name, changed):
    model, strategy = build_segmentor(), build_temporal(name)
    frame, call = make_image(56, 70), dict(vocabulary=NAMES)
    run(model, [frame], temporal=strategy, **call)
    with pytest.raises(OpenVocabError, match='of other classes.* begin anew'):
        run(model, [frame], temporal=strategy, **{**call, **changed})
    run(model, [frame], temporal=strategy, **call)  # still remembers its own


@pytest.mark.parametrize(
    ('temporal', 'message'),
    [
        ('smoth', "no temporal strategy 'smoth': there are none, smooth and propagate"),
        (dict(type='none', share=1), "'none', which takes no settings"),
        (dict(share=0.5), 'no temporal strategy None'),
        (dict(type='smooth', radius=1), "no setting 'radius'"),
        (['smooth'], 'no temporal strategy'),
        (dict(type='smooth', share=1), 'share has to be from 0 on and below 1'),
        (dict(type='smooth', share='0.5'), "below 1, not '0.5'"),
        (dict(type='smooth', cut=None), 'cut has to be positive, not None'),
        (dict(type='smooth', cut=0), 'cut has to be positive'),
        (dict(type='propagate', radius=0.5), 'radius has to be a whole number'),
        (dict(type='propagate', frames=0), 'at least 1'),
        (dict(type='propagate', frames=True), 'at least 1, not True'),
        (dict(type='propagate', temperature=0), 'temperature has to be positive'),
        (dict(type='propagate', temperature=1e-45), 'at least 1e-6'),
        (dict(type='propagate', temperature=float('inf')), 'not inf'),
        (dict(type='propagate', map_index='last'), 'map_index has to be a whole'),
    ],
)
def test_unfit_strategies(temporal, message):
    with pytest.raises(OpenVocabError, match=message):
        build_temporal(temporal)


def test_a_map_that_the_backbone_does_not_give(build_segmentor):
    model = build_segmentor()
    with pytest.raises(OpenVocabError, match='map_index is 4, but .* gives 1 map$'):
        run(
            model,
            [make_image(28, 28)],
            temporal=propagate(map_index=4),
        )
