"""Files of tensors: readable by the library, the same every time."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from mmseg_ovs.utils import tensor_file

METADATA = {'b': '{"x": "é \\"quoted\\""}', 'a': '', 'c c': '1', 'd': '2', 'e': '3'}
TENSORS = {
    'half': torch.arange(5).half(),
    'empty': torch.zeros(0, 3),
    'numbers': torch.arange(6, dtype=torch.int32).view(2, 3),
}


@pytest.mark.parametrize('metadata', [METADATA, {}, {'one': 'x' * 1001}])
def test_the_library_reads_it(tmp_path, metadata):
    path = tmp_path / 'file.safetensors'
    path.write_bytes(tensor_file(TENSORS, metadata))
    with safe_open(path, 'pt') as file:
        assert (file.metadata() or {}) == metadata
        assert set(file.keys()) == set(TENSORS)
        for name, expected in TENSORS.items():
            read = file.get_tensor(name)
            assert read.dtype == expected.dtype
            assert torch.equal(read, expected)
    assert load(path.read_bytes()).keys() == TENSORS.keys()


def test_the_same_bytes_every_time():
    """The library's own order of metadata is another one at every call."""
    tensors, metadata = {'t': torch.ones(3)}, {letter: letter for letter in 'abcdefgh'}
    assert len({save(tensors, metadata) for _ in range(20)}) > 1
    assert len({tensor_file(tensors, metadata) for _ in range(20)}) == 1
