"""Windows of the stretched image and all of it: features or logits averaged."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmseg_ovs.models.necks import FeatureNeck
from tests.models.segmentors.running import (
    FEATURES,
    LOGITS,
    PYRAMID,
    make_image,
    run,
    scores,
)

# logits that sigmoid bends, so that the order of sigmoid and resize shows
SIGMOID_HEAD = dict(
    type='TextSimilarityHead',
    in_channels=16,
    text_channels=20,
    channels=8,
    logit_scale=8.0,
    activation='sigmoid',
)


def stretch(image, size, antialias=True):
    return F.interpolate(image, size, mode='bilinear', antialias=antialias)


@torch.no_grad()
def slow_features(model, image):
    """Window by window, cell by cell."""
    inputs = model.data_preprocessor(dict(inputs=[image]))['inputs']
    canvas = stretch(inputs, (84, 84))
    whole = model.run_backbone(canvas)
    total, count = torch.zeros_like(whole.maps[-1]), torch.zeros(6, 6)
    for y, x in itertools.product((0, 14, 28), (0, 14, 28)):
        local = model.run_backbone(canvas[..., y : y + 56, x : x + 56]).maps[-1]
        for i, j in itertools.product(range(4), range(4)):
            total[..., y // 14 + i, x // 14 + j] += local[..., i, j]
            count[y // 14 + i, x // 14 + j] += 1
    merged = (total / count + whole.maps[-1]) / 2
    features = model.run_neck(whole._replace(maps=(merged,)))
    grid = model.decode(features, model.project_vocabulary())
    dense = F.interpolate(
        grid, (84, 84), mode='bilinear', align_corners=model.align_corners
    )
    return F.interpolate(
        dense, image.shape[-2:], mode='bilinear', align_corners=model.align_corners
    )[0]


@torch.no_grad()
def slow_logits(model, image):
    inputs = model.data_preprocessor(dict(inputs=[image]))['inputs']
    text = model.project_vocabulary()

    def view(x):
        x = stretch(x, (42, 42), antialias=False)
        logits = model.decode_head(model.extract_feat(x), text)
        return F.interpolate(logits, (56, 56), mode='bilinear').sigmoid()

    canvas = stretch(inputs, (84, 84), antialias=False)
    total, count = torch.zeros(1, 12, 84, 84), torch.zeros(84, 84)
    for y, x in itertools.product((0, 28), (0, 28)):
        window = (..., slice(y, y + 56), slice(x, x + 56))
        total[window] += view(canvas[window])
        count[window] += 1
    whole = view(stretch(inputs, (56, 56), antialias=False))
    merged = (total / count + F.interpolate(whole, (84, 84), mode='bilinear')) / 2
    return F.interpolate(merged, image.shape[-2:], mode='bilinear')[0]


@pytest.mark.parametrize('size', [(70, 98), (84, 84), (33, 120)])
def test_features_against_the_slow_formulation(build_segmentor, size):
    model = build_segmentor(test_cfg=FEATURES)
    image = make_image(*size)
    ours = scores(model, image)
    assert_close(ours, slow_features(model, image), rtol=1e-4, atol=1e-5)
    plain = scores(build_segmentor(test_cfg=dict(mode='whole')), image)
    assert (ours - plain).abs().max() > 1e-3


@pytest.mark.parametrize('size', [(70, 98), (84, 84), (33, 120)])
def test_logits_against_the_slow_formulation(build_segmentor, size):
    model = build_segmentor(test_cfg=LOGITS, decode_head=SIGMOID_HEAD)
    image = make_image(*size)
    ours = scores(model, image)
    assert_close(ours, slow_logits(model, image), rtol=1e-4, atol=1e-5)


def test_softmax_of_windows_is_over_activated_scores(build_segmentor):
    model = build_segmentor(test_cfg=dict(LOGITS, window_softmax=True))
    result = scores(model, make_image(70, 98), chunk_mb=1e-6)
    assert_close(result.sum(0), torch.ones(70, 98), rtol=1e-4, atol=1e-4)


def test_every_map_is_merged_on_its_own_grid(build_segmentor):
    """A pyramid: strides 4, 8, 16 and 32 of a stock backbone."""
    model = build_segmentor(
        **PYRAMID,
        decode_head=dict(SIGMOID_HEAD, in_index=0),
        test_cfg=dict(
            FEATURES, image_size=(128, 96), crop_size=(64, 64), stride=(32, 32)
        ),
    )
    shapes = []
    model.neck.register_forward_pre_hook(
        lambda module, args: shapes.append([tuple(m.shape) for m in args[0]])
    )
    assert run(model, [make_image(60, 50)])[0].pred_sem_seg.shape == (60, 50)
    assert shapes == [
        [(1, 64, 32, 24), (1, 128, 16, 12), (1, 256, 8, 6), (1, 512, 4, 3)]
    ]


def test_neck_and_head_see_the_stretched_image_once(build_segmentor):
    model = build_segmentor(test_cfg=dict(FEATURES, window_batch_size=8))
    seen = []

    class Spy(FeatureNeck):
        def forward(self, features):
            seen.append(features)
            return features

    model.neck = Spy()
    runs = []
    model.backbone.register_forward_pre_hook(
        lambda module, args: runs.append(tuple(args[0].shape))
    )
    heads = []
    model.decode_head.register_forward_hook(lambda *call: heads.append(call))
    run(model, [make_image(70, 98)])
    (features,) = seen
    assert len(heads) == 1
    assert features.image.shape == (1, 3, 84, 84)
    assert features.maps[-1].shape == (1, 16, 6, 6)
    assert features.cls_attention.shape[-2:] == (6, 6)
    assert runs == [(1, 3, 84, 84), (8, 3, 56, 56), (1, 3, 56, 56)]


def test_original_image_is_the_last_view(build_segmentor):
    """Stretched to the window, not cut from the stretched image."""
    model = build_segmentor(test_cfg=dict(LOGITS, window_batch_size=8))
    runs = []
    model.backbone.register_forward_pre_hook(lambda module, args: runs.append(args[0]))
    image = make_image(30, 20)
    run(model, [image])
    inputs = model.data_preprocessor(dict(inputs=[image]))['inputs']
    expected = stretch(stretch(inputs, (56, 56), False), (42, 42), False)
    assert_close(runs[0][-1:], expected)
    assert runs[0].shape == (5, 3, 42, 42)


@pytest.mark.parametrize(
    'test_cfg, message',
    [
        (dict(FEATURES, image_size=None), "'local-global' needs image_size"),
        (dict(FEATURES, stride=None), "'local-global' needs crop_size and stride"),
        (dict(FEATURES, aggregation='votes'), "one of .*features.*: 'votes'"),
        (dict(LOGITS, crop_size=(56, 98)), r'crop_size \(56, 98\) has to fit into'),
        (dict(FEATURES, input_size=(42, 42)), "input_size is for aggregation='logits'"),
        (dict(FEATURES, stride=(20, 14)), r'\(20, 14\).*multiples of the backbone'),
        (dict(FEATURES, crop_size=(50, 50)), r'\(50, 50\).*multiples of the backbone'),
        (dict(FEATURES, image_size=(80, 84)), r'\(80, 84\).*multiples of the backbone'),
    ],
)
def test_wrong_test_cfg(build_segmentor, test_cfg, message):
    with pytest.raises(ValueError, match=message):
        run(build_segmentor(test_cfg=test_cfg), [make_image(70, 98)])


def test_logits_have_no_scores_on_the_grid(build_segmentor):
    cleaning = [dict(type='BackgroundCleaning')]
    model = build_segmentor(test_cfg=LOGITS, postprocessors=cleaning)
    with pytest.raises(ValueError, match='BackgroundCleaning works on scores on the'):
        run(model, [make_image(70, 98)])
    (sample,) = run(model, [make_image(70, 98)], mode='whole')
    assert sample.pred_sem_seg.shape == (70, 98)
