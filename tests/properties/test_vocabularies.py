"""Any input makes a sound vocabulary or a ``VocabularyError``, never anything else."""

import json

import pytest
from examples import many
from hypothesis import example, given
from hypothesis import strategies as st

from mmseg_ovs.structures import Vocabulary, VocabularyError

# All that JSON can hold, and a little more.
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
keys = st.text(max_size=5) | st.sampled_from(
    ['classes', 'prompts', 'background', 'threshold', 'source', 'synonyms', 'type']
    + ['background_label', 'background_score']
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


def check(vocabulary: Vocabulary) -> None:
    """What holds for every vocabulary."""
    classes, synonyms = vocabulary.classes, vocabulary.synonyms
    assert len(classes) == len(synonyms) == vocabulary.num_classes >= 1
    assert len(set(classes)) == len(classes)
    for names in (classes, *synonyms):
        assert all(name and name == name.strip() for name in names)
    assert vocabulary.rows == tuple(name for names in synonyms for name in names)
    owners = [i for i, names in enumerate(synonyms) for _ in names]
    assert vocabulary.row_to_class.tolist() == owners
    has_score = vocabulary.background_score is not None
    scored = {vocabulary.background_label} if has_score else set()
    assert {i for i, names in enumerate(synonyms) if not names} == scored
    again = Vocabulary.build(json.loads(json.dumps(vocabulary.to_dict())))
    assert again == vocabulary
    assert again.fingerprint() == vocabulary.fingerprint()


@many
@given(st.lists(st.text(max_size=8), max_size=6))
@example(['\ud800'])
def test_names_of_any_characters(tmp_path, names):
    try:
        vocabulary = Vocabulary.build(names)
    except VocabularyError:
        stripped = [name.strip() for name in names]
        synonyms = [[part.strip() for part in name.split(',')] for name in names]
        surrogates = any('\ud800' <= c <= '\udfff' for name in names for c in name)
        groups = [stripped, *synonyms]
        assert (
            not names
            or surrogates
            or any(not all(group) or len(set(group)) < len(group) for group in groups)
        ), 'these names are good'
        return
    check(vocabulary)
    assert vocabulary.classes == tuple(name.strip() for name in names)
    vocabulary.to_json(tmp_path / 'v.json')
    assert Vocabulary.build(tmp_path / 'v.json') == vocabulary


@many
@given(anything)
def test_any_value(value):
    try:
        check(Vocabulary.build(value))
    except VocabularyError as error:
        assert str(error)


@many
@given(
    classes=st.lists(st.sampled_from('abcde'), max_size=4),
    synonyms=st.none() | st.lists(st.lists(st.sampled_from('abc'), max_size=3)),
    background_label=st.none() | st.integers(-2, 5) | anything,
    background_score=st.none() | st.floats() | anything,
)
def test_any_vocabulary_file(**value):
    try:
        check(Vocabulary.build(value))
    except VocabularyError as error:
        assert str(error)


@many
@given(content=st.binary(max_size=40), suffix=st.sampled_from(['.json', '.txt']))
@example(content=b'[' * 100_000, suffix='.json')
@example(content=b'["\\ud800"]', suffix='.json')
@example(content=b'\xef\xbb\xbfsky\nroad', suffix='.txt')
def test_any_bytes_in_a_file(tmp_path, content, suffix):
    path = tmp_path / f'words{suffix}'
    path.write_bytes(content)
    try:
        check(Vocabulary.build(path))
    except VocabularyError as error:
        assert path.name in str(error)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    """Windows' editors put one before the first word."""
    path = tmp_path / 'words.txt'
    path.write_bytes(b'\xef\xbb\xbfsky\nroad')
    assert Vocabulary.build(path).classes == ('sky', 'road')
    path = tmp_path / 'words.json'
    path.write_bytes(b'\xef\xbb\xbf["sky"]')
    assert Vocabulary.build(path).classes == ('sky',)


@pytest.mark.parametrize('path', ['a\0.json', 'x' * 5000 + '.txt', '.json'])
def test_strange_paths(path):
    with pytest.raises(VocabularyError):
        Vocabulary.build(path)
