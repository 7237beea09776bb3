"""Reading checkpoints: clear errors before anything is loaded."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmseg_ovs.models.utils import CheckpointError, load_pretrained, read_state_dict


class Harmful:
    def __reduce__(self):
        return (print, ('code in a checkpoint was run',))


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


@pytest.mark.parametrize('name', ['x.pth', 'x.safetensors'])
@pytest.mark.parametrize('keep', [0, 5, 0.5])
def test_truncated_file(tmp_path, state, name, keep):
    path = tmp_path / name
    save_file(state, path) if name.endswith('safetensors') else torch.save(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(CheckpointError, match=f'{name} .*(truncated|plain state dict)'):
        read_state_dict(path)


def test_a_pickle_with_code_is_refused(tmp_path, capsys):
    path = tmp_path / 'harmful.pth'
    torch.save({'weight': torch.zeros(1), 'extra': Harmful()}, path)
    with pytest.raises(CheckpointError, match='not a plain state dict'):
        read_state_dict(path)
    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(CheckpointError):
        read_state_dict(path)
    assert 'was run' not in capsys.readouterr().out


def test_not_a_state_dict(tmp_path):
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='holds a list, not a state dict'):
        read_state_dict(tmp_path / 'list.pth')
    torch.save(dict(epoch=3), tmp_path / 'empty.pth')
    with pytest.raises(CheckpointError, match=r"holds no tensors; keys: \['epoch'\]"):
        read_state_dict(tmp_path / 'empty.pth')


def test_everything_that_does_not_fit_is_listed(state):
    state = {'weight': state['weight'].t(), 'gamma': torch.zeros(1)}
    layer = nn.Linear(3, 2)
    before = layer.weight.clone()
    with pytest.raises(CheckpointError) as error:
        load_pretrained(layer, state)
    text = str(error.value)
    assert '1 missing: bias' in text
    assert '1 unexpected: gamma' in text
    assert 'weight: checkpoint (3, 2), model (2, 3)' in text
    assert torch.equal(layer.weight, before)


def test_prefix(state):
    layer = nn.Linear(3, 2)
    load_pretrained(layer, {f'proj.{k}': v for k, v in state.items()}, prefix='proj')
    assert torch.equal(layer.bias, state['bias'])
    with pytest.raises(CheckpointError, match="no keys under 'head.'"):
        load_pretrained(layer, state, prefix='head')
