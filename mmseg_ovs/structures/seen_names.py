"""Which classes a training vocabulary already names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .vocabulary import Vocabulary

# 'building-other' and 'food-stuff' of COCO-Stuff are what else there is of a kind.
_REST = {'other', 'stuff', 'merged'}
# COCO has all classes of VOC, these under another name.
_VOC_IN_COCO = {
    'aeroplane': 'airplane',
    'motorbike': 'motorcycle',
    'sofa': 'couch',
    'tvmonitor': 'tv',
}


def seen_by_name(classes: Sequence[str], trained: Iterable[str]) -> list[str]:
    """The classes of which one name is among the trained names.

    Names are compared in lower case, without spaces, ``-`` and ``_``, and without
    COCO-Stuff's endings '-other', '-stuff' and '-merged'; the parts of
    ``'building, edifice'`` are names by themselves; VOC's four classes that COCO calls
    otherwise ('sofa', 'couch') are the same. Nothing else is made equal: 'wall-brick'
    does not show 'wall', nor 'people' 'person'.

    Args:
        classes: Names of the benchmark's classes.
        trained: Names met in training.

    Returns:
        The seen ones of ``classes``, in their order.
    """
    known = {name for entry in trained for name in _names(entry)}
    return [entry for entry in classes if known & _names(entry)]


def seen_mask(vocabulary: Vocabulary, trained: Iterable[str]) -> Tensor:
    """Which classes were met in training under one of their names.

    Args:
        vocabulary: N classes.
        trained: Names met in training.

    Returns:
        BoolTensor (N,), see :func:`seen_by_name`.
    """
    entries = [
        ','.join((name, *synonyms))
        for name, synonyms in zip(vocabulary.classes, vocabulary.synonyms, strict=True)
    ]
    seen = set(seen_by_name(entries, trained))
    return torch.tensor([entry in seen for entry in entries])


def trained_names(metainfo: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The names that a training on a data set with this ``metainfo`` meets.

    They are its ``seen_classes``, if it has classes that it never shows, else its
    classes or the nouns of its masks; none of a data set of captions.
    """
    for key in ('seen_classes', 'classes', 'nouns'):
        if names := (metainfo or {}).get(key):
            return tuple(names)
    return ()


def _names(entry: str) -> set[str]:
    return {_plain(part) for part in entry.split(',')}


def _plain(name: str) -> str:
    words = re.split(r'[\s_-]+', name.strip().lower())
    if len(words) > 1 and words[-1] in _REST:
        words.pop()
    name = ''.join(words)
    return _VOC_IN_COCO.get(name, name)
