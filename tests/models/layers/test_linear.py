"""The linear layer in oneDNN is a linear layer, for any count of tokens."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmseg_ovs.models.layers import GuidedLinear, Linear


def in_onednn(layer):
    layer.onednn = True
    return layer


def uses_convolution(x, layer):
    with FlopCounterMode(display=False) as counter:
        layer(x)
    return torch.ops.aten.convolution in counter.get_flop_counts()['Global']


@pytest.mark.parametrize(
    'shape', [(16, 8), (16, 8, 2), (2, 1029), (3, 5, 10), (131,), (1, 1, 16), (7,)]
)
@pytest.mark.parametrize('with_bias', [True, False])
def test_it_is_a_linear_layer(shape, with_bias):
    x = torch.randn(*shape, 12, requires_grad=True)
    layer = in_onednn(Linear(12, 20, bias=with_bias))
    ours = layer(x)
    expected = F.linear(x, layer.weight, layer.bias)
    assert ours.is_contiguous()
    torch.testing.assert_close(ours, expected)
    upstream = torch.randn_like(ours)
    wanted = (x, *layer.parameters())
    for one, other in zip(
        torch.autograd.grad(ours, wanted, upstream),
        torch.autograd.grad(expected, wanted, upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_detour_is_taken_where_it_pays():
    layer = Linear(12, 20)
    many, few = torch.randn(1029, 12), torch.randn(77, 12)
    assert not uses_convolution(many, layer)
    in_onednn(layer)
    assert uses_convolution(many, layer)
    assert not uses_convolution(few, layer)
    assert not uses_convolution(many.double(), layer.double())
    with torch.autocast('cpu', torch.bfloat16):
        assert not uses_convolution(many, layer.float())
        assert layer(many).dtype == torch.bfloat16


@pytest.mark.parametrize('guidance_dims', [0, 5])
def test_guidance_acts_as_if_concatenated(guidance_dims):
    layer = in_onednn(GuidedLinear(12, guidance_dims))
    x, guidance = torch.randn(3, 70, 12), torch.randn(3, 1, guidance_dims)
    both = torch.cat([x, guidance.expand(-1, 70, -1)], dim=-1)
    torch.testing.assert_close(layer.from_parts(x, layer.share(guidance)), layer(both))
