"""Which classes of a benchmark a training vocabulary already names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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


def _names(entry: str) -> set[str]:
    return {_plain(part) for part in entry.split(',')}


def _plain(name: str) -> str:
    words = re.split(r'[\s_-]+', name.strip().lower())
    if len(words) > 1 and words[-1] in _REST:
        words.pop()
    name = ''.join(words)
    return _VOC_IN_COCO.get(name, name)
