"""Constants are computed once; the part that cannot be traced is named."""

import pytest
import torch
from tiny_systems import build, dinov3_seg, ovs_dino
from torch import nn

from mmseg_ovs.export import ExportError, export_model
from mmseg_ovs.export.capture import capture


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


class ValueDependent(nn.Conv2d):
    """Does what no graph can."""

    def forward(self, x):
        if x.mean() > 100:
            return x
        return super().forward(x)


def test_the_part_that_cannot_be_traced(tmp_path):
    model = build(ovs_dino, tmp_path)
    conv = model.neck[1].gate.conv2.conv
    model.neck[1].gate.conv2.conv = ValueDependent(
        conv.in_channels, conv.out_channels, 3, padding=1, bias=False
    )
    with pytest.raises(
        ExportError,
        match=r'neck\.1\.gate\.conv2\.conv \(ValueDependent\) cannot be exported: ',
    ):
        export_model(model, tmp_path / 'model.onnx')


def test_a_batch_that_cannot_be_free(tmp_path):
    """AnyUp goes through pictures one by one."""
    model = build(dinov3_seg, tmp_path)
    model.test_cfg = dict(mode='whole')
    with pytest.raises(
        ExportError, match=r'neck\.0.* \(\w+\) cannot be exported: .*try fixed ones'
    ):
        export_model(model, tmp_path / 'model.onnx', size=(32, 32), batch=None)
