"""The class list that people type."""

from __future__ import annotations

from mmseg_ovs.structures import Vocabulary, VocabularyError

MAX_CLASSES = 200


def read_words(text: str | None) -> Vocabulary:
    """A class a line, commas between synonyms: the form of ``.txt`` vocabularies.

    Empty lines are left out.

    Raises:
        VocabularyError: There is no class, one appears twice, or there are more than
            ``MAX_CLASSES``: a long list keeps everybody else waiting.
    """
    lines = [line for line in (text or '').splitlines() if line.strip()]
    if not lines:
        raise VocabularyError('Type at least one class.')
    if len(lines) > MAX_CLASSES:
        raise VocabularyError(
            f'{len(lines)} classes are more than the {MAX_CLASSES} that this page '
            'takes; python -m mmseg_ovs.predict has no such limit.'
        )
    return Vocabulary.build(lines)
