"""Cost aggregation: chunks, factored guidance and windows against the plain form."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmseg_ovs.models.decode_heads.cost_aggregation import (
    Aggregator,
    SpatialBlock,
    correlation,
)
from tests.models.module_tester import LargestTensor
from tests.tiny import shake
from tests.tool_loader import load_tool

plain_aggregator = load_tool('tools/speed/plain_cost_aggregation.py').plain_aggregator


def build(**options):
    """A tiny aggregator in which biases, norms and padding count."""
    defaults = dict(
        text_channels=12,
        appearance_channels=12,
        decoder_guidance_channels=(6, 5),
        channels=16,
        num_layers=2,
        num_heads=2,
        window_size=3,
        text_guidance_dims=8,
        appearance_guidance_dims=8,
        decoder_dims=(16, 16),
        decoder_guidance_dims=(8, 4),
    )
    torch.manual_seed(1)
    return shake(Aggregator(**{**defaults, **options})).eval()


def inputs(classes=5, prompts=1, size=(6, 6), batch=2):
    height, width = size
    features = torch.randn(batch, 12, height, width)
    guidance = [
        torch.randn(batch, 6, 2 * height, 2 * width),
        torch.randn(batch, 5, 4 * height, 4 * width),
    ]
    return features, torch.randn(classes, prompts, 12), features, guidance


def assert_close(ours, expected):
    scale = expected.abs().max()
    assert (ours - expected).abs().max() <= 2e-5 * scale


VARIANTS = {
    'linear': dict(),
    'full': dict(class_attention='full'),
    'padded': dict(pad_len=9),
    'padded full': dict(pad_len=9, class_attention='full'),
    'pooling 1': dict(pooling=(1, 1)),
    'pooling 3 x 2': dict(pooling=(3, 2)),
    'prompts': dict(prompt_channels=3),
    'guided classes': dict(class_guidance=True, pooling=(3, 2)),
    'guided classes, padded': dict(class_guidance=True, pad_len=9),
    'guided classes, padded full': dict(
        class_guidance=True, pad_len=9, class_attention='full'
    ),
    'no shift': dict(window_size=6),
    'window larger than the map': dict(window_size=50),
    'no guidance maps': dict(appearance_channels=0, decoder_guidance_channels=()),
    'oblong': dict(size=(6, 9)),
    'windows that are not full': dict(size=(7, 10), window_size=4),
    'one window and a half': dict(size=(4, 6), window_size=4),
    'less than a window': dict(size=(3, 7), window_size=4),
}


@pytest.mark.parametrize('name', VARIANTS)
@torch.no_grad()
def test_equals_the_plain_form_in_any_chunks(name):
    options = dict(VARIANTS[name])
    size = options.pop('size', (6, 6))
    model = build(**options)
    arguments = inputs(prompts=options.get('prompt_channels', 1), size=size)
    if name == 'no guidance maps':
        arguments = arguments[:2]
    expected = plain_aggregator(model, *arguments)
    assert expected.shape == (2, 5, 4 * size[0], 4 * size[1])
    for class_chunk in (1, 2, 5, 50, None):
        model.class_chunk = class_chunk
        assert_close(model(*arguments), expected)


@pytest.mark.parametrize(
    'name', ['linear', 'padded', 'padded full', 'prompts', 'guided classes, padded']
)
def test_gradients_equal_those_of_the_plain_form(name):
    model = build(class_chunk=2, **VARIANTS[name]).train()
    prompts = VARIANTS[name].get('prompt_channels', 1)
    features, text, _, guidance = inputs(prompts=prompts)
    leaves = [features.requires_grad_(), text.requires_grad_()]
    leaves += [guide.requires_grad_() for guide in guidance]
    leaves += list(model.parameters())
    weight = torch.randn(2, 5, 24, 24)
    gradients = []
    for forward in (model, lambda *args: plain_aggregator(model, *args)):
        logits = forward(features, text, features, guidance)
        gradients.append(torch.autograd.grad((logits * weight).sum(), leaves))
    scale = max(gradient.abs().max() for gradient in gradients[1])
    for ours, expected in zip(*gradients, strict=True):
        assert (ours - expected).abs().max() <= 1e-5 * scale
        # Without noise from parameters that do not matter (the bias of the keys).
        if expected.abs().max() > 1e-3 * scale:
            assert_close(ours, expected)


@torch.no_grad()
def test_a_batch_equals_its_images():
    model = build(pad_len=4)  # each image keeps other classes
    features, text, _, guidance = inputs(classes=7, batch=3)
    together = model(features, text, features, guidance)
    for i in range(3):
        one = slice(i, i + 1)
        alone = model(features[one], text, features[one], [g[one] for g in guidance])
        assert_close(together[one], alone)


@pytest.mark.parametrize('pad_len', [None, 2, 9])
@torch.no_grad()
def test_rejected_classes_are_as_if_they_were_not_there(pad_len):
    """By image: the best by cosine at each position, and no others."""
    model = build(pad_len=pad_len, keep_classes=1, prompt_channels=2)
    features, text, _, guidance = inputs(classes=40, prompts=2, size=(2, 3))
    logits = model(features, text, features, guidance)
    counts = set()
    for i in range(2):
        one, guides = features[i : i + 1], [g[i : i + 1] for g in guidance]
        kept = correlation(one, text)[0].mean(dim=1).argmax(dim=0).unique()
        model.keep_classes = None
        expected = torch.full_like(logits[i], -100)
        expected[kept] = model(one, text[kept], one, guides)[0]
        assert_close(logits[i], expected)
        counts.add(len(kept))
    assert 1 < max(counts) <= 6
    model.keep_classes = 1
    trained = model.train()(features, text, features, guidance)
    left = trained.flatten(2).ne(-100).any(dim=2)
    assert (left.sum(dim=1) == (pad_len or 40)).all()


@torch.no_grad()
def test_as_many_kept_classes_as_there_are_change_nothing():
    arguments = inputs()
    expected = build()(*arguments)
    assert torch.equal(build(keep_classes=5)(*arguments), expected)


def test_truncation_keeps_the_classes_most_like_some_position():
    model = build(pad_len=3, class_chunk=2)
    features, text, _, guidance = inputs(classes=8, batch=1)
    text[5] = features[0, :, 2, 2]  # cosine 1
    text.requires_grad_()
    logits = model(features, text, features, guidance)
    left_out = (logits == -100).flatten(2).all(dim=2)[0]
    greatest = correlation(features, text).detach().flatten(2).amax(dim=2)[0]
    assert left_out.sum() == 5 and not left_out[5]
    assert greatest[left_out].max() <= greatest[~left_out].min()
    logits.sum().backward()
    moved = text.grad.flatten(1).any(dim=1)
    assert torch.equal(moved, ~left_out)


@pytest.mark.parametrize('size', [(8, 8), (7, 10), (5, 9), (4, 6), (3, 7)])
@torch.no_grad()
def test_tokens_see_their_window_and_nothing_else(size):
    """Against attention over the whole map with a mask from first principles."""
    window, (height, width) = 4, size
    block = SpatialBlock(8, 0, num_heads=2, window_size=window)
    x = torch.randn(3, height * width, 8)
    prepared = block.prepare(None, block.lay_windows(size))
    for swin, ready, shift in zip(
        (block.block_1, block.block_2), prepared, (0, 2), strict=True
    ):
        side = window
        if min(size) <= window:
            side, shift = min(size), 0
        visible = torch.ones(height * width, height * width, dtype=torch.bool)
        rows = torch.arange(height).repeat_interleave(width)
        for place in (rows, torch.arange(width).repeat(height)):
            # Shifted windows start at ``shift``; what comes before is one more window.
            group = torch.where(place < shift, -1, (place - shift) // side)
            visible &= group[:, None] == group
        attention = swin.attn
        q, k, v = (
            linear(swin.norm1(x)).unflatten(-1, (2, -1)).transpose(1, 2)
            for linear in (attention.q, attention.k, attention.v)
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        expected = x + attention.proj(seen.transpose(1, 2).flatten(2))
        expected = expected + swin.mlp(swin.norm2(expected))
        assert_close(swin(x, ready), expected)


def flops_of(model, classes):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs(classes, batch=1))
    return counter.get_total_flops()


def test_no_class_pays_for_guidance_or_padding():
    """What the widths of guidance cost does not grow with the number of classes."""
    narrow, wide = build(), build(appearance_guidance_dims=32, class_guidance=True)
    slopes = [flops_of(model, 9) - flops_of(model, 4) for model in (narrow, wide)]
    assert slopes[0] == slopes[1]
    padded = build(pad_len=1000)
    assert flops_of(padded, 4) <= 1.01 * flops_of(narrow, 4)


@pytest.mark.parametrize('attention', ['linear', 'full'])
def test_temporaries_do_not_grow_with_the_number_of_classes(attention):
    """But for the logits and, with full attention, pooled keys and values."""
    model = build(class_chunk=4, class_attention=attention, pooling=(3, 3))
    largest = []
    for classes in (8, 48):
        with LargestTensor() as mode, torch.no_grad():
            model(*inputs(classes, batch=1))
        largest.append(mode.elements)
    assert largest[0] == largest[1]
    assert largest[1] >= 48 * 24 * 24  # the logits


# ------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(pad_len=0), 'at least 1, got 0.* switched off by None'),
        (dict(keep_classes=0), 'at least 1, or None for all classes, got 0'),
        (dict(keep_classes=2.5), 'keep_classes has to be a whole number .* got 2.5'),
        (dict(pad_len=-3), 'at least 1, got -3.* switched off by None'),
        (dict(class_chunk=0), 'class_chunk has to be at least 1'),
        (dict(class_attention='sparse'), r"one of \['full', 'linear'\], got 'sparse'"),
        (dict(decoder_dims=(16, 24)), 'multiple of 16 .* got 24'),
        (dict(decoder_guidance_dims=(16, 4)), 'Guidance of 16 channels leaves none'),
        (
            dict(class_guidance=True, appearance_channels=0),
            'class_guidance needs a map',
        ),
        (dict(decoder_guidance_channels=(6,)), 'two stages: give guidance for both'),
    ],
)
def test_arguments_out_of_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)


def test_inputs_that_do_not_fit():
    model = build()
    with pytest.raises(ValueError, match='3 text embeddings a class, .* for 1'):
        model(*inputs(prompts=3))
    features, text, appearance, guidance = inputs()
    with pytest.raises(ValueError, match=r'spatial blocks has to be \(12, 6, 6\)'):
        model(features, text, appearance[..., :5], guidance)
    coarse = [guidance[0], guidance[1][..., ::2, ::2]]
    message = (
        r'decoder stage 2 has to be \(5, 24, 24\) .* got \(5, 12, 12\).* correct its'
    )
    with pytest.raises(ValueError, match=message):
        model(features, text, appearance, coarse)
