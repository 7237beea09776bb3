"""Several processes encode their vocabularies into one cache."""

import torch
from mmengine.dist import get_rank
from processes import run_processes

from mmseg_ovs.models.text_encoders import load_embeddings
from tests.tiny import TEXT_ENCODERS, make


def encode(folder):
    torch.distributed.init_process_group('gloo')
    encoder = make(TEXT_ENCODERS['open_clip'], templates='single', cache_dir=folder)
    names = ['shared']
    for i in range(20):  # each adds a name to what the others have added meanwhile
        names.append(f'name {i} of {get_rank()}')
        encoder.set_vocabulary(names)
        vectors = encoder()
    return dict(zip(names, vectors, strict=True))


def test_cache_holds_what_every_process_has_encoded(tmp_path):
    first, second = run_processes(2, encode, tmp_path)
    (path,) = tmp_path.glob('*.safetensors')
    names, vectors = load_embeddings(path)
    expected = {**second, **first}
    assert sorted(names) == sorted(expected)
    for name, vector in zip(names, vectors, strict=True):
        assert torch.equal(vector, expected[name])
    assert {p.name for p in tmp_path.iterdir()} <= {path.name, f'{path.name}.lock'}
