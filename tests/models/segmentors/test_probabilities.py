"""Probabilities over all text rows, and the background rules on them."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample

from mmseg_ovs.models.postprocessors.base import ImagePostProcessor
from mmseg_ovs.models.segmentors import OpenVocabTTAModel
from mmseg_ovs.utils import OpenVocabError
from tests.models.module_tester import LargestTensor
from tests.models.segmentors.running import LOGITS, SLIDE, make_image, run, scores

# 'thing 0' and 'thing 1' are the background, 'thing 4' and 'thing 5' a class.
WORDS = dict(
    classes=['background', 'two', 'three', 'many'],
    synonyms=[
        ['thing 0', 'thing 1'],
        ['thing 2'],
        ['thing 3'],
        ['thing 4', 'thing 5', 'thing 6'],
    ],
    background_label=0,
)
CLASSES = torch.tensor([0, 0, 1, 2, 3, 3, 3])
SIZE = (101, 83)
OTHER_SIZE = dict(ori_shape=SIZE)


def plainly(model, image, scale, min_probability=0.0, min_area=None):
    """Every plane at full size, softmax of all rows, best row of a class."""
    rows = scores(
        model, image, metas=OTHER_SIZE, vocabulary=[f'thing {i}' for i in range(7)]
    )
    rows = (rows * scale).softmax(dim=0)
    classes = torch.stack([rows[i == CLASSES].amax(dim=0) for i in range(4)])
    if min_area is not None:
        counts = classes.argmax(dim=0).flatten().bincount(minlength=4)[1:]
        classes[1:] *= (counts > min_area * counts.sum())[:, None, None]
    labels = classes.argmax(dim=0)
    labels[classes.amax(dim=0) < min_probability] = 0
    return labels, classes


@pytest.fixture
def spread(build_segmentor):
    """Builds a model whose scores differ enough for all classes to win somewhere."""

    def build(mode=SLIDE, **parts):
        model = build_segmentor(test_cfg=mode, **parts)
        image = make_image(70, 98)
        run_head, names = model.run_head, [f'thing {i}' for i in range(7)]
        inputs = model.data_preprocessor(dict(inputs=[image]))['inputs']
        with torch.no_grad():
            logits = run_head(
                model.extract_feat(inputs), model.project_vocabulary(names)
            )
        offsets = logits.mean(dim=(0, 2, 3))[:, None, None]
        model.run_head = lambda *args: (run_head(*args) - offsets) * 20
        return model, image

    return build


@pytest.mark.parametrize('mode', [SLIDE, LOGITS, dict(mode='whole')])
@pytest.mark.parametrize('chunk_mb', [100, 0.07, 1e-6])
def test_equal_to_the_plain_way(spread, mode, chunk_mb):
    model, image = spread(mode)
    expected, probabilities = plainly(model, image, 6.0, 0.4)
    assert len(expected.unique()) >= 3
    assert (expected != plainly(model, image, 6.0)[0]).any()
    test_cfg = dict(logit_scale=6.0, min_probability=0.4, chunk_mb=chunk_mb)
    call = dict(vocabulary=WORDS, **test_cfg)
    (sample,) = run(model, [image], OTHER_SIZE, **call)
    assert (sample.pred_sem_seg.data[0] != expected).float().mean() < 1e-3
    (sample,) = run(model, [image], OTHER_SIZE, keep_logits=True, **call)
    torch.testing.assert_close(sample.seg_logits.data, probabilities)
    assert (sample.pred_sem_seg.data[0] != expected).float().mean() < 1e-3


@pytest.mark.parametrize('keep', [False, True])
def test_small_classes_are_left_out(spread, keep):
    model, image = spread()
    before, _ = plainly(model, image, 6.0)
    counts = before.flatten().bincount(minlength=4)
    foreground = before.numel() - counts[0]
    smallest = 1 + int(counts[1:].argmin())
    share = float(counts[smallest] / foreground) + 1e-6
    assert (counts[1:] > share * foreground).sum() == 2
    expected, probabilities = plainly(model, image, 6.0, 0.4, share)
    assert smallest in before and smallest not in expected
    call = dict(logit_scale=6.0, min_probability=0.4, min_area=share, keep_logits=keep)
    (sample,) = run(model, [image], OTHER_SIZE, vocabulary=WORDS, **call)
    assert (sample.pred_sem_seg.data[0] != expected).float().mean() < 1e-3
    if keep:
        torch.testing.assert_close(sample.seg_logits.data, probabilities)
        assert not sample.seg_logits.data[smallest].any()


def test_the_scale_alone_changes_no_label(spread):
    model, image = spread()
    plain = run(model, [image], vocabulary=WORDS)[0].pred_sem_seg.data
    scaled = run(model, [image], vocabulary=WORDS, logit_scale=500.0)[0]
    assert torch.equal(scaled.pred_sem_seg.data, plain)
    kept = scores(model, image, vocabulary=WORDS, logit_scale=500.0)
    assert kept.isfinite().all() and kept.max() <= 1


def test_a_constant_background_is_compared_with_probabilities(spread):
    model, image = spread()
    names = [f'thing {i}' for i in range(7)]
    chances = (scores(model, image, vocabulary=names) * 6).softmax(dim=0)
    threshold = chances.amax(dim=0).median().item() + 1e-6
    background = dict(type='threshold', value=threshold)
    call = dict(vocabulary=dict(source=names, background=background), logit_scale=6.0)
    (sample,) = run(model, [image], **call)
    expected = torch.cat([torch.full_like(chances[:1], threshold), chances])
    labels = expected.argmax(dim=0)
    assert 0.3 < (labels == 0).float().mean() < 0.7
    assert (sample.pred_sem_seg.data[0] != labels).float().mean() < 1e-3
    kept = scores(model, image, **call)
    torch.testing.assert_close(kept, expected)


def test_full_size_scores_of_all_rows_never_exist(spread):
    model, image = spread()
    size = (400, 500)
    call = dict(logit_scale=6.0, min_probability=0.4, min_area=0.01, chunk_mb=0.1)
    with LargestTensor() as largest:
        run(model, [image], dict(ori_shape=size), vocabulary=WORDS, **call)
    assert largest.elements < 1.1 * size[0] * size[1]


def test_refinement_at_the_original_size(spread):
    """Scores come to the original size first; the image guides them there."""
    pamr = dict(type='PAMR', num_iter=2, dilations=(1, 3), stage='output')
    model, image = spread(postprocessors=[pamr])
    call = dict(vocabulary=[f'thing {i}' for i in range(7)])
    plain = scores(model, image, metas=OTHER_SIZE, refine=False, **call)
    (processor,) = model.postprocessors
    guide = image.float()[[2, 1, 0]][None]  # images are read as BGR
    corners = model.align_corners
    guide = F.interpolate(guide, SIZE, mode='bilinear', align_corners=corners)[0]
    expected = processor.refine(plain, processor.prepare(guide))
    for chunk_mb in (100, 0.07):
        found = scores(model, image, metas=OTHER_SIZE, chunk_mb=chunk_mb, **call)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    flip = dict(OTHER_SIZE, flip=True, flip_direction='horizontal')
    # Without windows and positions a flip of the image flips the scores; the guide has
    # to be flipped back with them.
    flipped = scores(model, image, metas=flip, refine=False, **call)
    expected = processor.refine(flipped, processor.prepare(guide.flip(-1)))
    found = scores(model, image, metas=flip, **call)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('scale', [6.0, 400.0])
def test_refinement_that_raises_scores(spread, scale):
    """Scores above those of the grid, which no exponential may overflow at."""

    class Louder(ImagePostProcessor):
        def prepare(self, image):
            return 30.0

        def refine(self, scores, prepared):
            return scores * prepared

    model, image = spread()
    call = dict(metas=OTHER_SIZE, vocabulary=[f'thing {i}' for i in range(7)])
    plain = scores(model, image, **call)
    model.postprocessors.append(Louder('image'))
    found = scores(model, image, logit_scale=scale, **call)
    expected = (plain * 30 * scale).softmax(dim=0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_one_resize_from_the_grid(spread):
    model, image = spread(dict(mode='whole', resize_once=True))
    found = scores(
        model, image, metas=OTHER_SIZE, vocabulary=[f'thing {i}' for i in range(7)]
    )
    inputs = model.data_preprocessor(dict(inputs=[image]))['inputs']
    vocabulary = [f'thing {i}' for i in range(7)]
    with torch.no_grad():
        grid = model.encode_decode(inputs, model.project_vocabulary(vocabulary))
    corners = model.align_corners
    expected = F.interpolate(grid, SIZE, mode='bilinear', align_corners=corners)[0]
    torch.testing.assert_close(found, expected)
    twice = scores(
        model, image, metas=OTHER_SIZE, vocabulary=vocabulary, resize_once=False
    )
    assert (twice - expected).abs().max() > 1e-3


def test_augmentation_keeps_the_background_rule(spread):
    model, image = spread()
    model.test_cfg.update(logit_scale=6.0, min_probability=0.4)
    model.set_vocabulary(WORDS)
    expected = run(model, [image], OTHER_SIZE)[0].pred_sem_seg.data
    data = dict(inputs=[image], data_samples=run(model, [image], OTHER_SIZE))
    view = {key: [value] for key, value in data.items()}
    (sample,) = OpenVocabTTAModel(model).test_step(view)
    assert torch.equal(sample.pred_sem_seg.data, expected)


def test_augmentation_leaves_out_what_is_small_in_the_mean(spread):
    model, image = spread()
    model.set_vocabulary(WORDS)
    flip = dict(flip=True, flip_direction='horizontal')
    samples = [SegDataSample(metainfo=dict(OTHER_SIZE, **meta)) for meta in ({}, flip)]
    data = dict(inputs=[[image], [image.flip(-1)]], data_samples=[[s] for s in samples])
    maps = [
        scores(model, view, metas=dict(s.metainfo), logit_scale=6.0)
        for (view,), s in zip(data['inputs'], samples, strict=True)
    ]
    mean = (maps[0] + maps[1]) / 2
    counts = mean.argmax(dim=0).flatten().bincount(minlength=4)[1:]
    share = float(counts[counts > 0].min() / counts.sum()) + 1e-6
    mean[1:][counts <= share * counts.sum()] = 0
    model.test_cfg.update(logit_scale=6.0, min_area=share)
    (sample,) = OpenVocabTTAModel(model).test_step(data)
    torch.testing.assert_close(sample.seg_logits.data, mean)
    assert torch.equal(sample.pred_sem_seg.data[0], mean.argmax(dim=0))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(min_probability=0.1), 'min_probability is for probabilities'),
        (dict(min_area=0.1), 'min_area is for probabilities'),
        (dict(logit_scale=40, min_probability=1.5), r'in 0\.\.1, not 1\.5'),
        (dict(logit_scale=40, min_area=-0.1), r'in 0\.\.1, not -0\.1'),
        (dict(logit_scale=0), 'logit_scale has to be positive, not 0'),
        (dict(logit_scale='abc'), "logit_scale has to be positive, not 'abc'"),
        (dict(logit_scale=40, min_probability=True), r'in 0\.\.1, not True'),
        (dict(chunk_mb=0), 'chunk_mb has to be positive, not 0'),
        (dict(logit_scale=40, window_softmax=True), 'give one of them'),
        (dict(resize_once=True), "in 'slide' scores are merged"),
    ],
)
def test_settings_that_do_not_fit(build_segmentor, settings, message):
    with pytest.raises(OpenVocabError, match=message):
        build_segmentor(test_cfg=dict(SLIDE, **settings))


@pytest.mark.parametrize(
    ('vocabulary', 'message'),
    [
        (['thing 0', 'thing 1'], 'needs a background among the classes: add'),
        (
            dict(source=['thing 0'], background=dict(type='threshold', value=0.5)),
            r'constant score \(0\.5\) are two rules',
        ),
    ],
)
def test_vocabularies_that_do_not_fit(build_segmentor, vocabulary, message):
    model = build_segmentor()
    model.backbone.forward = None  # nothing is computed before
    call = dict(vocabulary=vocabulary, logit_scale=40, min_probability=0.1)
    with pytest.raises(OpenVocabError, match=message):
        run(model, [make_image(56, 56)], **call)


def test_post_processors_that_one_resize_leaves_out(build_segmentor):
    model = build_segmentor(postprocessors=[dict(type='PAMR', num_iter=1)])
    with pytest.raises(OpenVocabError, match=r"PAMR\(stage='window'\) needs scores"):
        run(model, [make_image(56, 56)], mode='whole', resize_once=True)
