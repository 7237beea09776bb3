"""What holds for every decode head."""

import pytest
import torch
from torch.testing import assert_close

from mmseg_ovs.models.decode_heads import CostAggregationHead
from mmseg_ovs.structures.visual_features import VisualFeatures
from tests.models.module_tester import BOTH, PretrainedModuleTester
from tests.tiny import HEADS, WIDTH, make


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


def texts(head, rows):
    """Text vectors of the width that the head needs."""
    if isinstance(head, CostAggregationHead):
        shape = (2 // head.text_parts, WIDTH * head.text_parts)
    else:
        shape = (WIDTH if type(head).__name__ == 'TextSimilarityHead' else 20,)
    return torch.randn(rows, *shape, generator=torch.Generator().manual_seed(2))


class TestDecodeHeads(PretrainedModuleTester):
    CONFIGS = HEADS

    def run(self, module, batch=BOTH):
        text = module.project_text(texts(module, 5))
        return [module(features(module, batch), text)]

    @torch.no_grad()
    def test_any_number_of_rows_in_any_order(self, cfg):
        head = make(cfg)
        for rows in (1, 5, 12):
            text = head.project_text(texts(head, rows))
            logits = head(features(head), text)
            size = (16, 24) if isinstance(head, CostAggregationHead) else (4, 6)
            assert logits.shape == (2, rows, *size)
            order = torch.randperm(rows)
            assert_close(head(features(head), text[order]), logits[:, order])

    def test_gradients_reach_text_and_features(self, cfg):
        head = make(cfg)
        text, inputs = texts(head, 5).requires_grad_(), features(head)
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
        with pytest.raises(ValueError, match="activation has to be one of .*'relu'"):
            make(cfg, activation='relu')
