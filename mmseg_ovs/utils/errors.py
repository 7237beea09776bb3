"""Errors that the caller can fix, and how commands end with them."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .upstream_warnings import without_upstream_warnings

# No room, or no permission.
_OF_THE_SYSTEM = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
}


class OpenVocabError(ValueError):
    """The caller can fix it; the message says what is wrong and how to fix it."""


class NonFiniteError(OpenVocabError):
    """Numbers are NaN or infinite where results depend on them."""


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first of many names, for messages.

    >>> some_of(['a', 'b', 'c', 'd'])
    'a, b, c, ...'
    """
    return ', '.join([*names[:most], *(['...'] if len(names) > most else [])])


@contextmanager
def exit_with_message() -> Iterator[None]:
    """End a command with the message of an :class:`OpenVocabError` alone.

    So do a full disk and a missing permission. Ctrl-C ends it with exit code 130.
    Other errors keep their traceback. Warnings of MMSegmentation that no user can act
    on are left out. Also a decorator: ``@exit_with_message()``.

    Raises:
        SystemExit: Instead of an :class:`OpenVocabError` or KeyboardInterrupt.
    """
    try:
        with without_upstream_warnings():
            yield
    except OpenVocabError as error:
        raise SystemExit(f'error: {error}') from error
    except OSError as error:
        if error.errno not in _OF_THE_SYSTEM:
            raise
        raise SystemExit(f'error: {error}') from error
    except KeyboardInterrupt as error:
        print('\ninterrupted', file=sys.stderr)
        raise SystemExit(130) from error
