"""What holds for every decode head."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from mmseg_ovs.models.decode_heads import (
    CostAggregationHead,
    OVSDINOHead,
    Talk2DINOHead,
    TextSimilarityHead,
)
from mmseg_ovs.structures import VisualFeatures, Vocabulary
from tests.models.module_tester import BOTH, PretrainedModuleTester, label_samples
from tests.tiny import AGGREGATOR, HEADS, WIDTH, make

FIVE = Vocabulary.build(list('abcde'))


def features(head, batch=BOTH):
    """Four maps of the channels that the head needs."""
    channels = [WIDTH] * 4
    if isinstance(head, CostAggregationHead):
        for guide in (head.appearance_guidance, *head.decoder_guidance):
            up, index = guide.up, guide.index
            channels[index] = up.in_channels if up else guide.out_channels
    draw = torch.Generator().manual_seed(1)
    maps = (torch.randn(2, c, 4, 6, generator=draw)[batch] for c in channels)
    return VisualFeatures(tuple(maps))


def texts(head, vocabulary):
    """Text vectors of the width that the head needs, as a text encoder gives them."""
    if isinstance(head, CostAggregationHead):
        shape = (2 // head.text_parts, WIDTH * head.text_parts)
    else:
        shape = (head.text_channels,)
    draw = torch.Generator().manual_seed(2)
    return torch.randn(len(vocabulary.rows), *shape, generator=draw)


class TestDecodeHeads(PretrainedModuleTester):
    CONFIGS = HEADS

    def run(self, module, batch=BOTH):
        text = module.project_text(texts(module, FIVE))
        return [module(features(module, batch), text)]

    @torch.no_grad()
    def test_any_number_of_rows_in_any_order(self, cfg):
        head = make(cfg)
        for rows in (1, 5, 12):
            vocabulary = Vocabulary.build(list('abcdefghijkl'[:rows]))
            text = head.project_text(texts(head, vocabulary))
            logits = head(features(head), text)
            size = (16, 24) if isinstance(head, CostAggregationHead) else (4, 6)
            assert logits.shape == (2, rows, *size)
            order = torch.randperm(rows)
            assert_close(head(features(head), text[order]), logits[:, order])

    def test_gradients_reach_text_and_features(self, cfg):
        head = make(cfg)
        text, inputs = texts(head, FIVE).requires_grad_(), features(head)
        maps = tuple(m.requires_grad_() for m in inputs.maps)
        logits = head(inputs._replace(maps=maps), head.project_text(text))
        logits.square().mean().backward()
        assert text.grad.flatten(1).any(dim=1).all()
        used = [m.grad is not None and m.grad.abs().max() > 0 for m in maps]
        assert used == [isinstance(head, CostAggregationHead)] * 3 + [True]

    def test_activation(self, cfg):
        logits = 3 * torch.randn(2, 5, 4, 4)
        sigmoid = make(cfg, activation='sigmoid').activate(logits)
        assert_close(sigmoid, logits.sigmoid())
        assert torch.equal(make(cfg, activation='none').activate(logits), logits)
        softmax = make(cfg, activation='softmax').activate(logits)
        assert_close(softmax, logits.exp() / logits.exp().sum(dim=1, keepdim=True))
        with pytest.raises(ValueError, match="activation has to be one of .*'relu'"):
            make(cfg, activation='relu')

    def test_losses_of_one_name_are_added(self, cfg):
        sigmoid = cfg['type'] in ('OVSDINOHead', 'CostAggregationHead')
        loss = dict(type='CrossEntropyLoss', use_sigmoid=sigmoid)
        samples = label_samples(torch.randint(0, 5, (2, 16, 24)))
        values = []
        for losses in (loss, [loss, dict(loss, loss_weight=0.5)]):
            head = make(cfg, loss_decode=losses)
            encode = partial(texts, head)
            found = head.loss(features(head), samples, encode, FIVE)
            assert set(found) == {'loss_ce'}
            values.append(found['loss_ce'])
        assert_close(values[1], 1.5 * values[0])

    def test_a_batch_without_labels_trains_nothing(self, cfg, warned):
        if cfg['type'] == 'CostAggregationHead':  # by default they are of no class
            cfg = dict(cfg, ignored='skip')
        head = make(cfg)
        samples = label_samples(torch.full((2, 16, 24), 255))
        for _ in range(5):
            losses = head.loss(features(head), samples, partial(texts, head), FIVE)
            assert all(value == 0 for value in losses.values())
        if list(head.parameters()):
            sum(losses.values()).backward()
        gradients = [p.grad for p in head.parameters() if p.grad is not None]
        assert not any(gradient.any() for gradient in gradients)  # NaN is true
        counts = [text.partition(' batch(es)')[0] for text in warned]
        assert counts == ['1', '2', '4']

    def test_a_label_outside_the_classes(self, cfg):
        head, samples = make(cfg), label_samples(torch.full((2, 16, 24), 7))
        with pytest.raises(ValueError, match='but there are 5 classes'):
            head.loss(features(head), samples, partial(texts, head), FIVE)

    def test_text_of_another_width(self, cfg):
        head = make(cfg)
        width = head.text_channels
        message = f'text vectors of {width} numbers, but the text encoder gives 11'
        with pytest.raises(ValueError, match=message):
            head.project_text(torch.randn(3, 11))


def test_options_that_a_head_does_not_read():
    with pytest.raises(
        ValueError, match=r"does not read \['loss_classes', 'num_points"
    ):
        OVSDINOHead(num_points=9, loss_classes='all')
    with pytest.raises(ValueError, match="project takes .* not \\['image'"):
        TextSimilarityHead(8, 8, 8, project=('image',))


def test_published_defaults():
    head = Talk2DINOHead()
    assert isinstance(head.activation, torch.nn.Sigmoid) and head.align_corners
    assert head.attention_scale == 0.125
    head = CostAggregationHead(16, aggregator=AGGREGATOR)
    assert isinstance(head.activation, torch.nn.Sigmoid) and not head.align_corners
