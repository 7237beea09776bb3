"""Reading checkpoints; files that do not fit are in tests/properties."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmseg_ovs.models.utils import CheckpointError, load_pretrained, read_state_dict


@pytest.fixture
def state():
    return {'weight': torch.randn(2, 3), 'bias': torch.randn(2)}


def test_formats_and_wrappers(tmp_path, state):
    torch.save(state, tmp_path / 'plain.pth')
    wrapped = dict(state_dict={f'module.{k}': v for k, v in state.items()}, epoch=3)
    torch.save(wrapped, tmp_path / 'wrapped.pth')
    save_file(state, tmp_path / 'safe.safetensors')
    for name in ('plain.pth', 'wrapped.pth', 'safe.safetensors'):
        layer = nn.Linear(3, 2)
        load_pretrained(layer, tmp_path / name)
        assert torch.equal(layer.weight, state['weight'])


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match='No checkpoint at .*nowhere.pth'):
        read_state_dict(tmp_path / 'nowhere.pth')


def test_prefix(state):
    layer = nn.Linear(3, 2)
    load_pretrained(layer, {f'proj.{k}': v for k, v in state.items()}, prefix='proj')
    assert torch.equal(layer.bias, state['bias'])
    with pytest.raises(CheckpointError, match="no keys under 'head.'"):
        load_pretrained(layer, state, prefix='head')
