"""Warnings about names that a text encoder cannot tell apart or cuts off."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence

from mmengine.logging import print_log

from mmseg_ovs.structures import Vocabulary

_SHOWN = 5


def warn_of_equal_names(vocabulary: Vocabulary, keys: Sequence[Hashable]) -> None:
    """Warn of names that mean the same as a name of an earlier class.

    Their scores are equal, and the earlier class wins every pixel.

    Args:
        vocabulary: The vocabulary.
        keys: What the encoder reads of each row, R values.
    """
    owner: dict[Hashable, int] = {}  # the first class of a key
    shared: dict[int, dict[str, int]] = {}  # later classes: their rows, earlier owner
    classes = vocabulary.row_to_class.tolist()
    for row, label, key in zip(vocabulary.rows, classes, keys, strict=True):
        first = owner.setdefault(key, label)
        if first != label:
            shared.setdefault(label, {})[row] = first
    names = vocabulary.classes
    never, partly = [], []
    for label, rows in shared.items():
        row, first = next(iter(rows.items()))
        if set(rows) == set(vocabulary.synonyms[label]):
            never.append(f'{names[label]!r} (as {names[first]!r})')
        else:
            partly.append(f'{row!r} of {names[label]!r} and {names[first]!r}')
    if never:
        _warn(
            f'The text encoder reads the names of {len(never)} class(es) exactly as '
            'those of an earlier class, so they are never predicted: '
            f'{_some(never)}. Rename or remove them.'
        )
    if partly:
        _warn(
            f'{len(partly)} class(es) share a synonym with an earlier class, which '
            f'wins where it scores highest: {_some(partly)}.'
        )


def warn_of_truncated_names(names: Sequence[str], context_length: int) -> None:
    """Warn of names whose end the tokenizer cuts off."""
    _warn(
        f'{len(names)} name(s) are longer than the {context_length} tokens that the '
        'text encoder reads; the rest is ignored: '
        f'{_some([repr(f"{name[:40]}...") for name in names])}.'
    )


def _some(entries: Sequence[str]) -> str:
    return '; '.join(entries[:_SHOWN]) + ('; ...' if len(entries) > _SHOWN else '')


def _warn(message: str) -> None:
    print_log(message, 'current', logging.WARNING)
