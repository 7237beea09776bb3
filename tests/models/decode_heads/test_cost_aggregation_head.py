"""Cost aggregation head: guidance by stride, losses, sampling, published weights."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_ovs.models.decode_heads import CostAggregationHead
from mmseg_ovs.models.decode_heads.class_targets import sample_classes
from mmseg_ovs.models.decode_heads.cost_aggregation import GuidanceMap
from mmseg_ovs.models.utils import load_pretrained
from mmseg_ovs.structures import VisualFeatures, Vocabulary
from tests.models.module_tester import check_same_weights, label_samples
from tests.tiny import AGGREGATOR, make

# As CAT-Seg: the features themselves, and two layers at the stride of the features.
GUIDED = dict(
    in_index=2,
    appearance_guidance=dict(index=2, channels=12),
    decoder_guidance=[
        dict(index=0, channels=10, stride=16, upsampled_channels=6),
        dict(index=1, channels=10, stride=16, upsampled_channels=5),
    ],
)


def build(aggregator=None, **options):
    aggregator = {**AGGREGATOR, **(aggregator or {})}
    cfg = dict(type='CostAggregationHead', in_channels=12, aggregator=aggregator)
    return make(cfg, **options)


def layers(batch=2):
    maps = [torch.randn(batch, channels, 6, 6) for channels in (10, 10, 12)]
    return VisualFeatures(tuple(maps))


# ------------------------------------------------------------------- guidance
@torch.no_grad()
def test_guidance_at_the_strides_of_the_decoder():
    """A prior that is fine enough already needs no weights of its own."""
    head = build(
        in_index=0,
        appearance_guidance=dict(index=1, channels=7),
        decoder_guidance=[
            dict(index=2, channels=6),
            dict(index=3, channels=5, stride=4),
        ],
    )
    maps = [torch.randn(1, 12, 6, 6), torch.randn(1, 7, 6, 6)]
    maps += [torch.randn(1, 6, 12, 12), torch.randn(1, 5, 24, 24)]
    logits = head(VisualFeatures(tuple(maps)), head.project_text(torch.randn(4, 12)))
    assert logits.shape == (1, 4, 24, 24)
    assert not any('guidance.' in name for name, _ in head.named_parameters())


def test_finer_guidance_is_averaged():
    guidance = GuidanceMap(8, index=0, channels=6, stride=4)
    assert not list(guidance.parameters()) and guidance.out_channels == 6
    fine = torch.arange(16.0).reshape(1, 1, 4, 4)
    expected = torch.tensor([[2.5, 4.5], [10.5, 12.5]])
    torch.testing.assert_close(guidance([fine])[0, 0], expected)


@pytest.mark.parametrize('stride', [12, 3])
def test_guidance_whose_stride_does_not_fit(stride):
    with pytest.raises(ValueError, match=f'needed at stride 8; its stride {stride} is'):
        GuidanceMap(8, index=1, channels=6, stride=stride)


@pytest.mark.parametrize('stride', [None, 4])
def test_upsampled_channels_without_upsampling(stride):
    with pytest.raises(ValueError, match='leave upsampled_channels out'):
        GuidanceMap(8, index=1, channels=6, stride=stride, upsampled_channels=3)


# ------------------------------------------------------------ skip connection
def test_a_skip_connection_starts_from_the_plain_cosine():
    head = CostAggregationHead(
        12, aggregator=AGGREGATOR, cosine_scale=10, text_parts=2, prompt_channels=2
    )
    features = layers()
    text = head.project_text(torch.randn(4, 24))
    logits = head(features, text)
    patch_half = F.normalize(features.maps[-1], dim=1)
    cosine = torch.einsum('bchw,tc->bthw', patch_half, text[:, 1])
    expected = F.interpolate(10 * cosine, (24, 24), mode='bilinear')
    torch.testing.assert_close(logits, expected)
    logits.square().sum().backward()
    assert head.log_cosine_scale.grad and head.aggregator.head.weight.grad.any()


@pytest.mark.parametrize('scale', [0, float('nan'), float('inf'), '10x'])
def test_a_skip_connection_without_weight(scale):
    with pytest.raises(ValueError, match='cosine_scale has to be positive'):
        build(cosine_scale=scale)


# ------------------------------------------------------------------------ loss
def test_cross_entropy_compares_classes_with_each_other():
    head = build(ignored='skip', loss_decode=dict(type='CrossEntropyLoss'))
    logits, labels = torch.randn(2, 4, 6, 6), torch.randint(0, 4, (2, 12, 12))
    labels[0, :3] = 255
    loss = head.loss_by_logits(logits, labels)['loss_ce']
    resized = F.interpolate(logits, (12, 12), mode='bilinear')
    expected = F.cross_entropy(resized, labels, ignore_index=255, reduction='sum')
    torch.testing.assert_close(loss, expected / labels.numel())
    shifted = head.loss_by_logits(logits + 5, labels)['loss_ce']
    torch.testing.assert_close(loss, shifted)


def test_cross_entropy_of_a_single_class_is_named(warned):
    logits, labels = torch.randn(1, 1, 6, 6), torch.zeros(1, 12, 12, dtype=torch.long)
    assert build().loss_by_logits(logits, labels)['loss_ce'] > 0
    assert not warned
    head = build(ignored='skip', loss_decode=dict(type='CrossEntropyLoss'))
    assert head.loss_by_logits(logits, labels)['loss_ce'] == 0
    assert '1 batch(es) with a single class to compare' in warned[0]


def test_cross_entropy_has_no_class_for_unlabelled_pixels():
    with pytest.raises(ValueError, match="set ignored='skip'"):
        build(loss_decode=dict(type='CrossEntropyLoss'))


# ----------------------------------------------------------------------- text
@pytest.mark.parametrize('parts', [1, 2])
def test_text_of_another_width_may_be_projected(parts):
    head = build(text_parts=parts, prompt_channels=parts, text_channels=10)
    projected = head.project_text(torch.randn(4, 10))
    assert projected.shape == (4, parts, 12)
    projected.square().sum().backward()
    assert head.text_projection.weight.grad.any()


@torch.no_grad()
def test_halves_of_a_text_vector_are_channels():
    """dino.txt: one half for the class token, one for the patches, each normalised."""
    head = build(text_parts=2, prompt_channels=2)
    text = torch.randn(4, 24)
    projected = head.project_text(text)
    apart = torch.stack([text[:, :12], text[:, 12:]], dim=1)
    torch.testing.assert_close(projected, F.normalize(apart, dim=-1))
    scaled = torch.cat([text[:, :12] * 3, text[:, 12:] * 0.1], dim=1)
    features = layers()
    torch.testing.assert_close(
        head(features, projected), head(features, head.project_text(scaled))
    )
    three = build(text_parts=2, prompt_channels=6).project_text(torch.randn(4, 3, 24))
    assert three.shape == (4, 6, 12)


# ----------------------------------------------------------------------- loss
def plain_loss(logits, labels, ignored):
    """Binary cross-entropy pixel by pixel, from its definition."""
    logits = F.interpolate(logits, labels.shape[1:], mode='bilinear')
    probability = logits.sigmoid()
    target = torch.zeros_like(logits)
    for label in range(logits.shape[1]):
        target[:, label] = (labels == label).float()
    loss = -(target * probability.log() + (1 - target) * (1 - probability).log())
    if ignored == 'skip':
        loss = loss.movedim(1, -1)[labels != 255]
    return loss.mean()


@pytest.mark.parametrize('ignored', ['zero', 'skip'])
@pytest.mark.parametrize('classes', [1, 5])
def test_loss_of_every_class(ignored, classes):
    labels = torch.randint(0, classes, (2, 30, 31))
    labels[:, :9] = 255
    logits = torch.randn(2, classes, 8, 8)
    loss = build(ignored=ignored).loss_by_logits(logits, labels)['loss_ce']
    expected = plain_loss(logits, labels, ignored)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_nothing_labelled():
    labels = torch.full((1, 8, 8), 255)
    logits = torch.randn(1, 3, 8, 8)
    losses = {
        ignored: build(ignored=ignored).loss_by_logits(logits, labels)['loss_ce'].item()
        for ignored in ('zero', 'skip')
    }
    assert losses['zero'] > 0.1 and losses['skip'] == 0


@pytest.mark.parametrize('wrong', [5, 254, -1])
def test_label_of_no_class(wrong):
    labels = torch.randint(0, 5, (1, 8, 8))
    labels[0, 3, 3] = wrong
    with pytest.raises(ValueError, match='there are 5 classes and 255 for unlabelled'):
        build().loss_by_logits(torch.randn(1, 5, 8, 8), labels)
    with pytest.raises(ValueError, match='there are 5 classes and 255 for unlabelled'):
        sample_classes(labels, 5, 3, 255)


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="ignored has to be one of .* 'drop'"):
        build(ignored='drop')
    with pytest.raises(ValueError, match='sampled_classes has to be at least 1'):
        build(sampled_classes=0)
    with pytest.raises(ValueError, match='give one of them'):
        build(sampled_classes=3, loss_classes='labelled')


def test_sampled_classes_hold_the_labelled_ones():
    labels = torch.tensor([[[7, 2], [255, 2]], [[4, 4], [7, 255]]])
    drawn = torch.zeros(10)
    for _ in range(200):
        kept = sample_classes(labels, 10, 5, 255)
        assert len(kept) == 5 and {2, 4, 7} <= set(kept.tolist())
        assert torch.equal(kept, kept.sort().values)
        drawn[kept] += 1
    others = drawn[[0, 1, 3, 5, 6, 8, 9]]
    assert others.min() > 30 and others.max() < 90  # 2 of 7: about 57 each
    assert sample_classes(labels, 10, 2, 255).tolist() == [2, 4, 7]
    assert sample_classes(labels, 10, 99, 255).tolist() == list(range(10))


@pytest.mark.parametrize(
    'option', [{'sampled_classes': 2}, {'loss_classes': 'labelled'}]
)
def test_loss_of_some_classes_is_that_of_their_vocabulary(option):
    names = [['cat', 'kitten'], ['dog'], ['sky', 'heaven'], ['road'], ['tree']]
    labels = torch.full((2, 24, 24), 2)
    labels[0, :5], labels[1, 4:9] = 255, 4
    vectors = torch.randn(7, 12, requires_grad=True)
    head, features = build(**option), layers()

    def loss(vectors, names):
        vocabulary = Vocabulary.build(names)
        samples = label_samples(labels)
        return head.loss(features, samples, lambda v: vectors, vocabulary)['loss_ce']

    sampled = loss(vectors, names)
    sampled.backward()
    touched = vectors.grad.abs().sum(1) > 0
    assert touched.tolist() == [False, False, False, True, True, False, True]
    labels[labels == 2], labels[labels == 4] = 0, 1
    head.sampled_classes, head.loss_classes = None, 'all'
    alone = loss(vectors[touched], [names[2], names[4]])
    torch.testing.assert_close(sampled, alone)


def test_all_classes_sampled_is_no_sampling():
    names = [f'thing {i}' for i in range(6)]
    samples = label_samples(torch.randint(0, 6, (2, 24, 24)))
    vectors, features = torch.randn(6, 12), layers()
    losses = [
        build(sampled_classes=count).loss(
            features, samples, lambda v: vectors, Vocabulary.build(names)
        )
        for count in (None, 6, 60)
    ]
    assert losses[0] == losses[1] == losses[2]


# ---------------------------------------------------------- published weights
def published(head):
    """The head's weights as they lie in a checkpoint of CAT-Seg, with its CLIP."""
    state = {}
    for key, value in head.state_dict().items():
        key = key.replace('aggregator.', 'sem_seg_head.predictor.transformer.')
        for i in (0, 1):
            key = key.replace(f'decoder_guidance.{i}.up.', f'upsample{i + 1}.')
        state[key] = value
    block = 'sem_seg_head.predictor.transformer.layers.0.swin_block.block_2.'
    state[f'{block}attn_mask'] = torch.zeros(4, 9, 9)
    state['sem_seg_head.predictor.clip_model.visual.proj'] = torch.randn(3, 3)
    return {'model': state, 'iteration': 80000}


@torch.no_grad()
def test_whole_published_checkpoint(tmp_path):
    source, target = (build(dict(pad_len=6), **GUIDED) for _ in range(2))
    for parameter in source.parameters():
        parameter.normal_()
    torch.save(published(source), tmp_path / 'model.pth')
    load_pretrained(target, tmp_path / 'model.pth')
    check_same_weights(target, source)


def test_test_pooling_is_for_tests():
    head = build(dict(pooling=(3, 3), test_pooling=(1, 1)))
    always = build(dict(pooling=(3, 3)))
    never = build(dict(pooling=(1, 1)))
    features, text = layers(), torch.randn(4, 1, 12)
    with torch.no_grad():
        torch.testing.assert_close(head(features, text), never(features, text))
        assert not torch.allclose(head(features, text), always(features, text))
        head.train(), always.train()
        torch.testing.assert_close(head(features, text), always(features, text))
