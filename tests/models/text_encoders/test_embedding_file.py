"""Files of names and vectors, their cache, and encoders that only read them."""

import json
import multiprocessing
import stat
from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_ovs.models.text_encoders import (
    EmbeddingFileError,
    PrecomputedTextEncoder,
    UnknownNameError,
    load_embeddings,
    save_embeddings,
)
from mmseg_ovs.models.text_encoders.embedding_file import EmbeddingCache
from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import NonFiniteError

NAMES = ['sky', 'Tree', 'traffic light', 'pot', 'Pot']


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'vectors.safetensors'
    save_embeddings(path, NAMES, torch.arange(20.0).view(5, 4), {'model': 'any'})
    return path


@pytest.mark.parametrize('shape', [(5, 4), (5, 3, 4)])
def test_round_trip(tmp_path, shape):
    embeddings = torch.randn(shape)
    save_embeddings(tmp_path / 'a.safetensors', NAMES, embeddings)
    names, read = load_embeddings(tmp_path / 'a.safetensors')
    assert names == NAMES and read.equal(embeddings)


@pytest.mark.parametrize(
    ('names', 'shape'), [(['a'], (2, 4)), (['a', 'a'], (2, 4)), (['a'], (1,))]
)
def test_names_and_vectors_that_do_not_fit_are_refused(tmp_path, names, shape):
    with pytest.raises(ValueError, match='appears twice|do not go with'):
        save_embeddings(tmp_path / 'a.safetensors', names, torch.zeros(shape))
    assert not list(tmp_path.iterdir())


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no file of text embeddings.*nowhere'):
        PrecomputedTextEncoder(tmp_path / 'nowhere.safetensors')


@pytest.mark.parametrize('damage', ['truncated', 'text', 'other tensors', 'no names'])
def test_damaged_file_is_named(path, damage):
    from safetensors.torch import save_file

    if damage == 'truncated':
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == 'text':
        path.write_text('not a safetensors file')
    elif damage == 'other tensors':
        save_file({'weight': torch.zeros(2)}, path)
    else:
        save_file({'embeddings': torch.zeros(2, 3)}, path)
    with pytest.raises(EmbeddingFileError, match=r'vectors\.safetensors is damaged'):
        PrecomputedTextEncoder(path)


# ----------------------------------------------------------------- precomputed
def test_precomputed_gives_the_rows_of_the_vocabulary(path):
    encoder = MODELS.build(dict(type='PrecomputedTextEncoder', path=str(path)))
    assert encoder.embed_dims == 4
    with pytest.raises(RuntimeError, match='has no vocabulary'):
        encoder()
    encoder.set_vocabulary(['sky, tree'])
    assert encoder()[:, 0].tolist() == [0, 4]
    encoder.set_vocabulary(
        dict(source=['Traffic Light'], background=dict(type='threshold', value=0.5))
    )
    assert encoder()[:, 0].tolist() == [8]
    assert encoder.encode(['Pot', 'pot'])[:, 0].tolist() == [16, 12]
    assert not encoder.state_dict() and not list(encoder.parameters())


def test_precomputed_lists_the_names_it_lacks(path):
    encoder = PrecomputedTextEncoder(path, vocabulary=['sky', 'moon', 'star'])
    with pytest.raises(UnknownNameError, match=r"2 of 3 names: \['moon', 'star'\]"):
        encoder()


def test_precomputed_does_not_guess_between_two_spellings(path):
    # 'POT' could be 'pot' or 'Pot', which have different vectors.
    with pytest.raises(UnknownNameError, match=r"\['POT'\]"):
        PrecomputedTextEncoder(path).encode_names(['POT'])


def test_vectors_for_each_template(tmp_path):
    path = tmp_path / 'a.safetensors'
    save_embeddings(path, ['a', 'b'], torch.randn(2, 3, 4).half())
    embeddings = PrecomputedTextEncoder(path, vocabulary=['b', 'a'])()
    assert embeddings.shape == (2, 3, 4) and embeddings.dtype == torch.float32


# ----------------------------------------------------------------------- cache
def test_cache_merges(tmp_path):
    cache = EmbeddingCache(tmp_path / 'sub' / 'c.safetensors', {'model': 'any'})
    assert cache.read() == {}
    cache.add({'a': torch.ones(3)})
    cache.add({'b': torch.zeros(3), 'a': torch.full((3,), 2.0)})
    read = cache.read()
    assert list(read) == ['a', 'b']
    assert read['a'].tolist() == [2, 2, 2] and read['b'].tolist() == [0, 0, 0]


def test_unwritable_cache_is_reported(tmp_path):
    (tmp_path / 'file').write_text('a file where the folder should be')
    cache = EmbeddingCache(tmp_path / 'file' / 'c.safetensors', {})
    with pytest.warns(UserWarning, match='could not be kept'):
        cache.add({'a': torch.ones(3)})


def test_cache_file_can_be_read_by_others(tmp_path):
    EmbeddingCache(tmp_path / 'c.safetensors', {}).add({'a': torch.ones(3)})
    (tmp_path / 'plain').write_text('')
    expected = stat.S_IMODE((tmp_path / 'plain').stat().st_mode)
    assert stat.S_IMODE((tmp_path / 'c.safetensors').stat().st_mode) == expected


def _add_many(path: str, prefix: str, barrier) -> None:
    cache = EmbeddingCache(Path(path), {})
    barrier.wait(timeout=60)
    for index in range(20):
        cache.add({f'{prefix}{index}': torch.full((4,), float(index))})


def test_two_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context('fork')
    barrier = context.Barrier(2)
    path = tmp_path / 'c.safetensors'
    writers = [
        context.Process(target=_add_many, args=(str(path), prefix, barrier))
        for prefix in 'ab'
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    read = EmbeddingCache(path, {}).read()
    assert set(read) == {f'{prefix}{index}' for prefix in 'ab' for index in range(20)}
    assert all(vector[0] == int(name[1:]) for name, vector in read.items())
    assert {p.name for p in tmp_path.iterdir()} <= {path.name, f'{path.name}.lock'}


def test_vocabulary_object_is_taken_as_it_is(path):
    vocabulary = Vocabulary.build(['sky'])
    encoder = PrecomputedTextEncoder(path, vocabulary)
    assert encoder.vocabulary is vocabulary


def test_vectors_that_are_not_finite(tmp_path, path):
    from safetensors.torch import load_file, save_file

    vectors = load_file(path)['embeddings']
    vectors[3, 1] = float('nan')
    with pytest.raises(NonFiniteError, match=r"\['pot'\] are NaN or infinite"):
        save_embeddings(tmp_path / 'b.safetensors', NAMES, vectors)
    save_file(dict(embeddings=vectors), path, {'names': json.dumps(NAMES)})
    with pytest.raises(EmbeddingFileError, match=r"vectors.* 1 of 5 names: \['pot'\]"):
        PrecomputedTextEncoder(path)
    with pytest.warns(UserWarning, match='computed again'):
        assert EmbeddingCache(path, {}).read() == {}
