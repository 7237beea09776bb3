"""The class list that people type."""

from __future__ import annotations

from mmseg_ovs.structures import Vocabulary, VocabularyError

MAX_NAMES = 500


def read_words(text: str | None) -> Vocabulary:
    """A class a line, commas between synonyms: the form of ``.txt`` vocabularies.

    Empty lines are left out.

    Raises:
        VocabularyError: There is no class, one appears twice, or there are more than
            ``MAX_NAMES`` with synonyms: a long list keeps everybody else waiting.
    """
    lines = [line for line in (text or '').splitlines() if line.strip()]
    if not lines:
        raise VocabularyError('Type at least one class.')
    count = len(lines) + sum(line.count(',') for line in lines)
    if count > MAX_NAMES:
        raise VocabularyError(
            f'{count} names are more than the {MAX_NAMES} that this page takes; '
            'python -m mmseg_ovs.predict has no such limit.'
        )
    return Vocabulary.build(lines)
