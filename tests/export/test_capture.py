"""Constants are computed once; the part that cannot be traced is named."""

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmseg_ovs.export import ExportError, TorchFormat, export_model
from mmseg_ovs.export.capture import capture
from mmseg_ovs.models.decode_heads.cost_aggregation import Aggregator
from tests.tiny import build, talk2dino


class Joined(nn.Module):
    """A weight that is joined of two, one that is written to, one that is not used."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.randn(2, 3)) for _ in range(2))
        self.unused = nn.Linear(100, 100)

    def forward(self, x):
        weight = torch.cat([self.first, self.second])
        weight[0] += 1
        steps = torch.arange(4) * 2.0
        return x @ weight.t() + steps + len(x)


def test_constants_are_computed():
    module = Joined().eval()
    x = torch.randn(2, 3)
    program = capture(module, (x,))
    targets = [n.target for n in program.graph.nodes if n.op == 'call_function']
    assert len(targets) <= 3  # product and sums
    assert sum(v.numel() for v in program.state_dict.values()) <= 20
    torch.testing.assert_close(program.module()(x), module(x))


@pytest.mark.parametrize('count', [2, 5])
def test_padded_and_truncated_classes(count):
    """Which classes take part is decided by the image, in the graph."""
    aggregator = Aggregator(
        text_channels=8,
        channels=16,
        num_layers=1,
        num_heads=2,
        pad_len=3,
        text_guidance_dims=8,
        decoder_dims=(16, 16),
        class_chunk=1,
    ).eval()
    text = torch.randn(count, 1, 8)
    program = capture(aggregator, (torch.randn(1, 8, 4, 4), text))
    for _ in range(2):
        features = torch.randn(1, 8, 4, 4)
        with torch.no_grad():
            expected = aggregator(features, text)
        assert (expected == -100).all(3).all(2).sum() == max(0, count - 3)
        logits = program.module()(features, text)
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


class ValueDependent(nn.Linear):
    """Does what no graph can."""

    def forward(self, x):
        return x if x.mean() > 100 else super().forward(x)


def test_the_part_that_cannot_be_traced(tmp_path):
    model = build(talk2dino, tmp_path)
    block = model.backbone.blocks[0]
    block.mlp.fc2 = ValueDependent(64, 16)
    with pytest.raises(
        ExportError,
        match=r'backbone\.blocks\.0\.mlp\.fc2 \(ValueDependent\) cannot be exported: ',
    ):
        export_model(model, tmp_path / 'model.pt2', TorchFormat())


def test_a_batch_that_cannot_be_free(tmp_path):
    """AnyUp goes through images one by one."""
    model = build(talk2dino, tmp_path)
    model.neck = MODELS.build(dict(type='AnyUp', output_size=1, qk_dim=8))
    with pytest.raises(
        ExportError,
        match=r'^The model cannot be exported: .*left open are: batch.*try fixed ones',
    ):
        export_model(
            model,
            tmp_path / 'model.pt2',
            TorchFormat(),
            batch=None,
            bake_vocabulary=True,
        )
