"""Files of tensors: readable by the library, the same in every process."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load

from mmseg_ovs.utils import tensor_file
from tests.tool_loader import run_process

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


def test_the_same_bytes_in_every_process():
    """The library's own order of metadata is drawn anew in each."""
    code = (
        'import torch; from mmseg_ovs.utils import tensor_file; import hashlib; '
        "content = tensor_file({'t': torch.ones(3)}, {k: k for k in 'abcdefgh'}); "
        'print(hashlib.sha256(content).hexdigest())'
    )
    assert len({run_process('-c', code).stdout for _ in range(2)}) == 1
