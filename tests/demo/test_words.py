"""The class list that people type."""

import pytest

from mmseg_ovs.demo.words import MAX_NAMES, read_words
from mmseg_ovs.structures import Vocabulary, VocabularyError


def test_a_class_a_line_with_synonyms_as_in_text_files(tmp_path):
    text = 'building, edifice\r\n  tree \n\nthe road\n\n'
    vocabulary = read_words(text)
    assert vocabulary.synonyms == (('building', 'edifice'), ('tree',), ('the road',))
    path = tmp_path / 'words.txt'
    path.write_text('building, edifice\n  tree \nthe road\n')
    assert vocabulary == Vocabulary.build(str(path))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, 'Type at least one class'),
        (' \n\n ', 'Type at least one class'),
        ('tree\nroad\ntree', "'tree' appears twice"),
        ('tree,, bush', 'is blank'),
        (
            '\n'.join(map(str, range(10_000))),
            '10000 names are more than the 500 .* page',
        ),
        (','.join(map(str, range(MAX_NAMES + 1))), '501 names are more than'),
    ],
)
def test_lists_that_cannot_be_used(text, message):
    with pytest.raises(VocabularyError, match=message):
        read_words(text)


def test_as_many_names_as_are_taken():
    names = list(map(str, range(MAX_NAMES)))
    assert read_words('\n'.join(names)).classes == tuple(names)


def test_names_of_vocabularies_and_files_are_only_words():
    assert read_words('ade20k-847').classes == ('ade20k-847',)
    assert read_words('/etc/words.txt').classes == ('/etc/words.txt',)
