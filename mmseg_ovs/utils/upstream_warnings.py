"""Warnings of MMSegmentation and MMEngine that no user can act on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# About their own code and defaults.
_MESSAGES = (
    '``build_loss`` would be deprecated',
    'Default ``avg_non_ignore`` is False',
    'The draw is False, it means that the',
    r'`torch\.cuda\.amp\.autocast\(args',
)


@contextmanager
def without_upstream_warnings() -> Iterator[None]:
    """Keep them off the console of a command."""
    with warnings.catch_warnings():
        for message in _MESSAGES:
            warnings.filterwarnings('ignore', message)
        yield
