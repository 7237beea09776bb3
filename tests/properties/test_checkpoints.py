"""Checkpoint files are untrusted: a state dict comes out, or a ``CheckpointError``."""

import io
import os
import pickle
import pickletools

import pytest
import torch
from examples import many
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from mmseg_ovs.models.utils import CheckpointError, load_pretrained, read_state_dict

FORMATS = ('zip', 'legacy', 'safetensors')
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
states = st.dictionaries(st.sampled_from('abcdefgh'), shapes, min_size=1, max_size=6)


def encode(state, kind, meta=None):
    """The bytes of a checkpoint."""
    if kind == 'safetensors':
        return save(state)
    buffer = io.BytesIO()
    content = dict(state_dict=state, meta=meta) if meta else state
    torch.save(content, buffer, _use_new_zipfile_serialization=kind == 'zip')
    return buffer.getvalue()


def write(folder, content, kind):
    path = folder / ('x.safetensors' if kind == 'safetensors' else 'x.pth')
    path.write_bytes(content)
    return path


@pytest.fixture(scope='module')
def whole():
    state = {'weight': torch.randn(3, 2), 'bias': torch.randn(3)}
    return {kind: encode(state, kind) for kind in FORMATS}


@pytest.mark.parametrize('kind', FORMATS)
@many
@given(data=st.data())
def test_truncated_anywhere(tmp_path, whole, kind, data):
    content = whole[kind]
    size = data.draw(st.integers(0, len(content) - 1), label='size')
    path = write(tmp_path, content[:size], kind)
    message = f'{path.name} .*(truncated|plain state dict)'
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(path)


@pytest.mark.parametrize('kind', FORMATS)
@many
@given(data=st.data())
def test_changed_anywhere(tmp_path, whole, kind, data):
    content = bytearray(whole[kind])
    for _ in range(data.draw(st.integers(1, 3), label='changes')):
        place = data.draw(st.integers(0, len(content) - 1), label='place')
        content[place] = data.draw(st.integers(0, 255), label='byte')
    path = write(tmp_path, content, kind)
    try:
        state = read_state_dict(path)
    except CheckpointError as error:
        assert path.name in str(error)
    else:
        assert all(isinstance(value, torch.Tensor) for value in state.values())


@pytest.mark.parametrize('name', ['x.pth', 'x.safetensors'])
@many
@given(content=st.binary(max_size=200))
def test_random_bytes(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        read_state_dict(tmp_path / name)


@many
@given(
    value=st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.integers() | st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_no_state_dict(tmp_path, value):
    torch.save(value, tmp_path / 'x.pth')
    message = r'x\.pth holds (a \w+, not a state dict|no tensors; keys)'
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path / 'x.pth')


def test_tensors_without_names(tmp_path):
    torch.save({0: torch.zeros(1), 'a': 3}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r"holds no tensors; keys: \['0', 'a'\]"):
        read_state_dict(tmp_path / 'x.pth')


@pytest.mark.parametrize('kind', FORMATS)
@many
@given(own=states, given_state=states)
def test_every_key_that_does_not_fit_is_listed(tmp_path, kind, own, given_state):
    module = nn.Module()
    for name, shape in own.items():
        module.register_buffer(name, torch.zeros(shape))
    state = {name: torch.ones(shape) for name, shape in given_state.items()}
    path = write(tmp_path, encode(state, kind), kind)
    missing = sorted(own.keys() - given_state.keys())
    unexpected = sorted(given_state.keys() - own.keys())
    misshapen = sorted(k for k in own.keys() & state.keys() if own[k] != given_state[k])
    if not (missing or unexpected or misshapen):
        load_pretrained(module, path)
        assert all(value.eq(1).all() for value in module.state_dict().values())
        return
    with pytest.raises(CheckpointError, match=path.name) as error:
        load_pretrained(module, path)
    lines = str(error.value).splitlines()[1:]
    found = dict.fromkeys(('missing', 'unexpected', 'of another shape'), '')
    for line in lines:
        head, _, names = line.partition(': ')
        count, _, what = head.partition(' ')
        found[what] = names
        assert int(count) == len(names.split('; '))
    for what, names in zip(found, (missing, unexpected, misshapen), strict=True):
        listed = found[what].split('; ') if found[what] else []
        assert sorted(name.split(':')[0] for name in listed) == names
    assert all(value.eq(0).all() for value in module.state_dict().values())


class Runs:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'pickle', 'in meta'])
@pytest.mark.parametrize('function', [os.mkdir, eval, exec, getattr, __import__])
def test_code_is_refused_and_does_not_run(tmp_path, kind, function):
    mark = tmp_path / 'was run'
    source = f'__import__("os").mkdir({str(mark)!r})'
    arguments = {
        os.mkdir: (str(mark),),
        getattr: (Runs(__import__, 'os'), 'mkdir'),
        __import__: ('antigravity',),
    }.get(function, (source,))
    harmful = Runs(function, *arguments)
    state = {'weight': torch.zeros(1)}
    if kind == 'pickle':
        content = pickle.dumps({**state, 'extra': harmful})
        pickletools.dis(content, io.StringIO())
    elif kind == 'in meta':
        content = encode(state, 'zip', dict(epoch=harmful))
    else:
        content = encode({**state, 'extra': harmful}, kind)
    path = write(tmp_path, content, kind)
    with pytest.raises(CheckpointError, match=r'x\.pth is not a plain state dict'):
        read_state_dict(path)
    assert not mark.exists()


def test_safetensors_are_read_as_they_are(tmp_path):
    state = {'a': torch.randn(2, 3), 'b': torch.arange(4, dtype=torch.int32)}
    path = write(tmp_path, save(state), 'safetensors')
    loaded = read_state_dict(path)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_a_web_page_is_no_checkpoint(tmp_path):
    path = tmp_path / 'x.pth'
    path.write_text('<!DOCTYPE html>\n<html><body>Log in</body></html>')
    with pytest.raises(
        CheckpointError, match='is a web page, and no checkpoint'
    ) as caught:
        read_state_dict(path)
    assert '\n' not in str(caught.value)


def test_half_a_checkpoint_is_called_truncated(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({'weight': torch.randn(300, 300)}, path)
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(CheckpointError, match='is truncated or no checkpoint'):
        read_state_dict(path)
