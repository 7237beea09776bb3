"""What became of the keys of a published file when a module took them over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from torch import Tensor

_SHOWN = 12  # lines of a kind


def key_report(published: Mapping[str, Tensor], taken: Mapping[str, Tensor]) -> str:
    """Describe a conversion of keys.

    Args:
        published: State dict of the file.
        taken: The same after ``convert_state_dict``: tensors that were only renamed
            are the same objects.

    Returns:
        Counts, then what was renamed, computed and left out, with the numbers of
        blocks folded to ``*``.
    """
    places = {id(value): key for key, value in taken.items()}
    sources = {id(value) for value in published.values()}
    renamed = Counter(
        f'{fold(key)} -> {fold(places[id(value)])}'
        for key, value in published.items()
        if id(value) in places and places[id(value)] != key
    )
    kept = sum(places.get(id(value)) == key for key, value in published.items())
    gone = _count(k for k, v in published.items() if id(v) not in places)
    made = _count(k for k, v in taken.items() if id(v) not in sources)
    lines = [f'{len(published)} keys read, {len(taken)} taken: {kept} as they are']
    for what, keys in (
        ('renamed', renamed),
        ('joined, folded or left out', gone),
        ('computed', made),
    ):
        if keys:
            lines[0] += f', {sum(keys.values())} {what}'
            lines += [f'  {what}:', *_listed(keys)]
    return '\n'.join(lines)


def fold(key: str) -> str:
    """A key with its numbers as ``*``."""
    return re.sub(r'(?<=\.)\d+(?=\.)', '*', key)


def _count(keys: Iterable[str]) -> Counter:
    return Counter(map(fold, keys))


def _listed(keys: Counter) -> list[str]:
    lines = [f'    {key}' + (f'  x {n}' if n > 1 else '') for key, n in keys.items()]
    rest = len(lines) - _SHOWN
    return lines[:_SHOWN] + ([f'    ... and {rest} more kinds'] if rest > 0 else [])
