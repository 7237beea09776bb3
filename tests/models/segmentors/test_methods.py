"""What holds for every method: any words, any batch, gradients, learning, weights."""

import pytest
import torch
from mmseg.registry import MODELS
from torch.testing import assert_close

from mmseg_ovs.models.utils import load_model_checkpoint
from mmseg_ovs.utils import OpenVocabError
from tests.models.module_tester import check_learns_two_halves, label_samples
from tests.models.segmentors.running import make_image, run
from tests.tiny import SYSTEMS, build, config, groupvit, talk2dino

NAMES = [f'thing {i}' for i in range(12)]
every_method = pytest.mark.parametrize('system', SYSTEMS, ids=lambda s: s.__name__)
every_trained_method = pytest.mark.parametrize(
    'system', [s for s in SYSTEMS if s is not groupvit], ids=lambda s: s.__name__
)


def images():
    return [make_image(50, 71), make_image(64, 48)]


def scores(model, inputs, **call):
    """Scores (N, H, W) of each image; labels are their arg max."""
    results = run(model, inputs, keep_logits=True, **call)
    for image, sample in zip(inputs, results, strict=True):
        assert sample.seg_logits.shape == image.shape[1:]
        assert torch.equal(
            sample.pred_sem_seg.data[0], sample.seg_logits.data.argmax(0)
        )
    return [sample.seg_logits.data for sample in results]


@every_method
@torch.no_grad()
def test_the_same_answer_any_way(system, tmp_path):
    """Images together or alone, windows in batches or one by one, in chunks or not."""
    model = build(system, tmp_path, NAMES)
    together = scores(model, images(), window_batch_size=16, chunk_mb=100)
    for image, expected in zip(images(), together, strict=True):
        assert expected.shape[0] == 12 and expected.std() > 1e-3
        for size, chunk_mb in ((1, 100), (3, 1e-6)):
            (alone,) = scores(model, [image], window_batch_size=size, chunk_mb=chunk_mb)
            assert_close(alone, expected, rtol=1e-4, atol=1e-4)


@every_method
@torch.no_grad()
def test_other_words_between_calls(system, tmp_path):
    """More and fewer classes than CAT-Seg's 8, and synonyms."""
    model = build(system, tmp_path, NAMES)
    for words in (NAMES[:1], NAMES[2:5], NAMES, ['thing 3', ['thing 1', 'thing 2']]):
        found = scores(model, images(), vocabulary=words)
        assert [len(s) for s in found] == [len(words)] * 2


@every_trained_method
def test_gradients_reach_what_is_trained(system, tmp_path):
    """All of it: DDP waits for each parameter that asks for a gradient."""
    labels = torch.zeros(2, 56, 56, dtype=torch.long)
    labels[:, 8:24, 8:] = 2
    labels[0, :5] = 255
    model = build(system, tmp_path).train()
    losses = model(torch.randn(2, 3, 56, 56), label_samples(labels), mode='loss')
    loss = sum(value for name, value in losses.items() if 'loss' in name)
    assert loss.isfinite() and 0 < loss < 5
    loss.backward()
    parameters = dict(model.named_parameters())
    got = {name for name, p in parameters.items() if p.grad is not None}
    assert got == {name for name, p in parameters.items() if p.requires_grad}
    assert all(parameters[name].grad.isfinite().all() for name in got)


@every_trained_method
def test_training_lowers_the_loss(system, tmp_path):
    head = system()['decode_head']
    if head['type'] != 'CostAggregationHead':  # cosines alone bound the loss
        head = dict(head, logit_scale=10.0)
    check_learns_two_halves(build(system, tmp_path, decode_head=head))


@every_method
@torch.no_grad()
def test_checkpoints(system, tmp_path):
    model = build(system, tmp_path)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'x.pth')
    torch.manual_seed(5)
    other = MODELS.build(config(system, tmp_path).model).eval()
    before = scores(other, images())
    load_model_checkpoint(other, tmp_path / 'x.pth')
    maps = scores(model, images()), scores(other, images()), before
    for expected, loaded, random in zip(*maps, strict=True):
        assert torch.equal(loaded, expected)
        assert not torch.allclose(random, expected, atol=1e-2)


@pytest.mark.parametrize('mode', ['loss', 'predict'])
def test_labels_of_another_size_than_their_image(mode, tmp_path):
    model = build(talk2dino, tmp_path, NAMES)
    samples = label_samples(torch.zeros(1, 28, 28, dtype=torch.long))
    samples[0].set_metainfo(dict(img_path='a.jpg', seg_map_path='a.png'))
    message = r'a\.png.* 28 x 28|28 x 28 .*a\.png'
    with pytest.raises(OpenVocabError, match=message):
        model(torch.randn(1, 3, 56, 56), samples, mode=mode)


@pytest.mark.parametrize(
    'convert',
    [
        lambda model: model.half(),
        lambda model: model.bfloat16(),
        lambda model: model.to('cpu', torch.bfloat16),
        lambda model: model.to(dtype=torch.half),
    ],
)
def test_weights_of_half_precision_are_refused(convert, tmp_path):
    model = build(talk2dino, tmp_path, NAMES)
    with pytest.raises(OpenVocabError, match=r'use --bf16.* --amp'):
        convert(model)
    assert model.to('cpu').to(torch.float32) is model
    assert next(model.double().parameters()).dtype == torch.float64
