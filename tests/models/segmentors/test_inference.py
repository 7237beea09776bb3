"""The same answer any way: batched, chunked, padded, with or without kept logits."""

import itertools

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ovs.models.decode_heads import FeatureAuxiliaryHead
from mmseg_ovs.utils import NonFiniteError
from tests.models.module_tester import LargestTensor
from tests.models.segmentors.running import (
    FEATURES,
    LOGITS,
    PYRAMID,
    SLIDE,
    make_image,
    run,
    scores,
)

SOFTMAX = dict(SLIDE, window_softmax=True)
MODES = dict(
    whole=dict(mode='whole'),
    slide=SLIDE,
    softmax=SOFTMAX,
    features=FEATURES,
    logits=LOGITS,
)
PROCESSORS = [
    dict(type='BackgroundCleaning'),
    dict(type='PAMR', num_iter=2, dilations=(1, 2)),
    dict(type='PAMR', num_iter=1, dilations=(1,), stage='image'),
]


def assert_same_labels(first, second, tolerance=0.002):
    """Equal labels but for pixels that a rounding error decides."""
    assert first.shape == second.shape
    assert (first != second).float().mean() <= tolerance


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('processors', [[], PROCESSORS], ids=['plain', 'processed'])
def test_chunks_and_batches_change_nothing(build_segmentor, mode, processors):
    if mode == 'logits':  # no scores on the grid, which are what is cleaned
        processors = processors[1:]
    model = build_segmentor(test_cfg=MODES[mode], postprocessors=processors)
    image = make_image(70, 98)
    reference = scores(model, image, window_batch_size=16, chunk_mb=100)
    labels = reference.argmax(0)
    assert len(labels.unique()) > 1
    for batch, chunk_mb in ((1, 100), (3, 100), (16, 0.03), (2, 1e-6)):
        args = dict(window_batch_size=batch, chunk_mb=chunk_mb)
        torch.testing.assert_close(
            scores(model, image, **args), reference, rtol=1e-4, atol=1e-5
        )
        (sample,) = run(model, [image], **args)
        assert 'seg_logits' not in sample
        assert_same_labels(sample.pred_sem_seg.data[0], labels)


def test_batches_of_mixed_sizes(build_segmentor):
    model = build_segmentor(postprocessors=PROCESSORS)
    images = [
        make_image(h, w, seed) for seed, (h, w) in enumerate([(70, 98), (42, 90)])
    ]
    images += [make_image(30, 20, 5), make_image(70, 98, 6)]
    together = run(model, images)
    for image, sample in zip(images, together, strict=True):
        labels = sample.pred_sem_seg.data
        assert labels.shape == (1, *image.shape[-2:]) and labels.dtype == torch.int64
        assert_same_labels(labels, run(model, [image])[0].pred_sem_seg.data)


@pytest.mark.parametrize('softmax', [False, True])
def test_windows_are_resized_summed_and_divided_by_their_count(
    build_segmentor, softmax
):
    model = build_segmentor(test_cfg=dict(SLIDE, window_softmax=softmax))
    image = make_image(70, 98)
    ours = scores(model, image)
    inputs = model.data_preprocessor(dict(inputs=[image]))['inputs']
    total, count = torch.zeros(12, 70, 98), torch.zeros(70, 98)
    for y, x in itertools.product((0, 28), (0, 28, 56)):
        window = (..., slice(y, y + 42), slice(x, x + 42))
        with torch.no_grad():
            grid = model.encode_decode(inputs[window], model.project_vocabulary())
        dense = torch.nn.functional.interpolate(
            grid, (42, 42), mode='bilinear', align_corners=model.align_corners
        )
        total[window] += dense[0].softmax(dim=0) if softmax else dense[0]
        count[window] += 1
    torch.testing.assert_close(ours, total / count, rtol=1e-5, atol=1e-6)


def test_softmax_needs_windows(build_segmentor):
    image = make_image(56, 70)
    whole = scores(build_segmentor(test_cfg=dict(mode='whole')), image)
    asked = dict(mode='whole', window_softmax=True)
    assert torch.equal(scores(build_segmentor(test_cfg=asked), image), whole)


@pytest.mark.parametrize('softmax', [False, True])
@pytest.mark.parametrize(
    'mode',
    [
        dict(mode='slide'),
        dict(mode='local-global', image_size=(168, 168), aggregation='logits'),
        dict(mode='local-global', image_size=(168, 168), aggregation='features'),
    ],
    ids=['slide', 'logits', 'features'],
)
def test_scores_of_all_classes_never_exist_at_the_size_of_a_window(
    build_segmentor, softmax, mode
):
    model = build_segmentor(
        test_cfg=dict(
            crop_size=(112, 112),
            stride=(56, 56),
            window_batch_size=1,
            window_softmax=softmax,
            chunk_mb=0.1,
            **mode,
        )
    )
    with LargestTensor() as largest:
        run(model, [make_image(112, 168)])
    canvas = mode.get('image_size', (112, 168))
    assert largest.elements < max(12 * 112 * 112 / 2, 3.1 * canvas[0] * canvas[1])


def test_result_has_the_original_size(build_segmentor):
    model = build_segmentor()
    image = make_image(50, 60)
    metas = dict(ori_shape=(101, 123))
    (sample,) = run(model, [image], metas)
    assert sample.pred_sem_seg.shape == (101, 123)
    (kept,) = run(model, [image], metas, keep_logits=True)
    assert kept.seg_logits.data.shape == (12, 101, 123)
    assert_same_labels(kept.seg_logits.data.argmax(0), sample.pred_sem_seg.data[0])


@pytest.mark.parametrize('mode', ['whole', 'features', 'logits'])
def test_flipped_input_is_flipped_back(build_segmentor, mode):
    model = build_segmentor(test_cfg=MODES[mode])
    image = make_image(84, 70)
    plain = scores(model, image)
    for direction, axis in (('horizontal', -1), ('vertical', -2)):
        metas = dict(flip=True, flip_direction=direction, ori_shape=(84, 70))
        flipped = scores(model, image, metas=metas)
        torch.testing.assert_close(flipped, plain.flip(axis), rtol=1e-4, atol=1e-5)


def test_windows_are_resized_to_the_input_size(build_segmentor):
    """Talk2DINO squares every window, whatever its aspect."""
    model = build_segmentor(test_cfg=dict(SLIDE, input_size=(56, 56)))
    seen = []
    model.backbone.register_forward_pre_hook(lambda m, args: seen.append(args[0].shape))
    labels = run(model, [make_image(20, 98)])[0].pred_sem_seg.data
    assert labels.shape == (1, 20, 98)
    assert {tuple(shape[-2:]) for shape in seen} == {(56, 56)}


@pytest.mark.parametrize('size', [(9, 30), (1, 1), (41, 200)])
def test_windows_larger_than_the_image_and_tiny_images(build_segmentor, size):
    model = build_segmentor(postprocessors=PROCESSORS)
    assert run(model, [make_image(*size)])[0].pred_sem_seg.shape == size


def test_the_vocabulary_is_an_argument(build_segmentor):
    """A call changes nothing in the model; ``set_vocabulary`` sets the default."""
    model = build_segmentor(test_cfg=dict(mode='whole'))
    image = make_image(56, 56)
    everything = scores(model, image)
    few = ['thing 3', 'thing 8']
    torch.testing.assert_close(scores(model, image, vocabulary=few), everything[[3, 8]])
    assert torch.equal(scores(model, image), everything)
    assert model.num_classes == model.out_channels == 12
    model.set_vocabulary(few)
    torch.testing.assert_close(scores(model, image), everything[[3, 8]])
    assert model.num_classes == model.out_channels == model.decode_head.num_classes == 2


def test_synonyms_take_the_maximum(build_segmentor):
    model = build_segmentor(test_cfg=dict(mode='whole'))
    image = make_image(56, 56)
    rows = scores(model, image)
    words = [['thing 0', 'thing 5', 'thing 7'], 'thing 2']
    (sample,) = run(model, [image], vocabulary=words, keep_logits=True)
    best = rows[[0, 5, 7]].amax(0)
    torch.testing.assert_close(sample.seg_logits.data, torch.stack([best, rows[2]]))
    assert torch.equal(sample.pred_sem_seg.data[0], (rows[2] > best).long())


@pytest.mark.parametrize('label', [0, 2])
def test_background_by_threshold(build_segmentor, label):
    model = build_segmentor(test_cfg=dict(mode='whole'))
    image = make_image(56, 56)
    rows = scores(model, image)
    threshold = rows[[4, 5]].amax(0).median().item() + 1e-6  # not a tie
    background = dict(type='threshold', value=threshold, label=label)
    words = dict(source=['thing 4', 'thing 5'], background=background)
    (sample,) = run(model, [image], vocabulary=words, keep_logits=True)
    planes = list(rows[[4, 5]])
    planes.insert(label, torch.full_like(rows[0], threshold))
    expected = torch.stack(planes)
    torch.testing.assert_close(sample.seg_logits.data, expected)
    assert torch.equal(sample.pred_sem_seg.data[0], expected.argmax(0))
    assert set(sample.pred_sem_seg.data.unique().tolist()) > {label}


@pytest.mark.parametrize('refine', [True, False])
def test_refinement_of_a_call(build_segmentor, refine):
    model = build_segmentor(postprocessors=PROCESSORS)
    plain = build_segmentor(postprocessors=PROCESSORS[:1])
    maps = scores(model, make_image(70, 98), refine=refine)
    assert torch.equal(maps, scores(plain, make_image(70, 98))) != refine


def test_without_a_vocabulary(build_segmentor):
    model = build_segmentor(vocabulary=None)
    with pytest.raises(RuntimeError, match='no vocabulary yet.*VocabularyHook'):
        run(model, [make_image(56, 56)])


@pytest.mark.parametrize(
    'test_cfg, message',
    [
        (dict(mode='tiles'), "mode has to be one of .*'tiles'"),
        (dict(mode='slide'), "'slide' needs crop_size and stride"),
        (dict(SLIDE, stride=(50, 28)), 'stride'),
        (dict(keep_logit=True), "no setting 'keep_logit': did you mean 'keep_logits'"),
    ],
)
def test_wrong_test_cfg(build_segmentor, test_cfg, message):
    with pytest.raises(ValueError, match=message):
        run(build_segmentor(test_cfg=test_cfg), [make_image(70, 98)])
    with pytest.raises(ValueError, match=message):
        run(build_segmentor(test_cfg={}), [make_image(70, 98)], **test_cfg)


def test_unknown_train_cfg(build_segmentor):
    message = "train_cfg has no setting 'foo': Known are input_size, input_antialias"
    with pytest.raises(ValueError, match=message):
        build_segmentor(train_cfg=dict(foo=1))


def test_tensor_mode_gives_grid_logits(build_segmentor):
    model = build_segmentor()
    assert model(torch.randn(2, 3, 56, 42)).shape == (2, 12, 4, 3)


@MODELS.register_module()
class ImageMean(FeatureAuxiliaryHead):
    """Sees the image as the training pipeline made it."""

    loss_prefix = 'mean'

    def loss(self, features, data_samples):
        assert len(features.image) == len(data_samples)
        return dict(loss_image=features.image.mean().abs())


def test_any_mixture_builds_and_runs(build_segmentor):
    """A stock backbone, neck and auxiliary head around our text side."""
    model = build_segmentor(
        **PYRAMID,
        decode_head=dict(
            type='TextSimilarityHead',
            in_channels=16,
            text_channels=20,
            channels=8,
            in_index=0,
            logit_scale=10.0,
        ),
        auxiliary_head=[
            dict(
                type='FCNHead', in_channels=16, channels=8, in_index=1, num_classes=12
            ),
            dict(type='ImageMean'),
        ],
    )
    assert run(model, [make_image(64, 64)])[0].pred_sem_seg.shape == (64, 64)
    label = PixelData(data=torch.randint(0, 12, (1, 56, 56)))
    data = model.data_preprocessor(
        dict(
            inputs=[make_image(56, 56)] * 2,
            data_samples=[SegDataSample(gt_sem_seg=label) for _ in range(2)],
        ),
        training=True,
    )
    losses = model.train()(**data, mode='loss')
    assert {'decode.loss_ce', 'aux_0.loss_ce', 'mean_1.loss_image'} <= set(losses)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_scores_that_are_not_finite_name_the_image(build_segmentor, mode, value):
    model = build_segmentor(test_cfg=MODES[mode])
    run(model, [make_image(60, 70)])
    activate = model.decode_head.activate

    def broken(logits):
        activated = activate(logits)
        activated.select(-3, 1)[..., 0, 0] = value
        return activated

    model.decode_head.activate = broken
    with pytest.raises(NonFiniteError, match=r'pixels of a\.jpg are NaN or infinite'):
        run(model, [make_image(60, 70)], metas=dict(img_path='a.jpg'))


@pytest.mark.parametrize('name', ['gt_sem_seg', 'gt_noun_masks'])
def test_labels_of_another_size_than_the_batch(build_segmentor, name):
    sample = SegDataSample(metainfo=dict(img_path='a.jpg'))
    sample.set_data({name: PixelData(data=torch.zeros(1, 20, 30))})
    message = rf'{name} of a\.jpg has 20 x 30 .* the image in the batch 40 x 30'
    with pytest.raises(ValueError, match=message):
        build_segmentor().loss(torch.zeros(1, 3, 40, 30), [sample])
