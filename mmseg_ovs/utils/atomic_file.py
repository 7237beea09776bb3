"""Files that are either the old one or the new one, never half of it."""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What `replacing` calls a file that is not finished.
_LEFTOVER = re.compile(r'\.(.*)-[0-9a-f]{32}\.tmp(\..*)?')
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def replacing(path: str | os.PathLike, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path``; it takes ``path``'s place at the end.

    Missing folders are made. If the block raises, ``path`` stays as it was. The
    temporary name ends as ``path`` does, for writers that look at the extension.

    Args:
        path: The file.
        durable: The new file takes its place when it is on the disk, not only in the
            system's memory, so it is whole after a power failure, too. Costs time.

    Raises:
        OSError: The file cannot be written; see :func:`naming_full_disk`.
    """
    path = Path(path).expanduser()
    temporary = path.with_name(f'.{path.stem}-{uuid.uuid4().hex}.tmp{path.suffix}')
    try:
        with naming_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if durable:
                move_into_place(temporary, path)
            else:
                os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(
    path: str | os.PathLike, content: str | bytes, durable: bool = True
) -> None:
    """Write a file, whole or not at all; arguments and errors: :func:`replacing`."""
    with replacing(path, durable) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def move_into_place(temporary: Path, path: Path) -> None:
    """Let a finished file take the place of ``path`` in the same folder, durably."""
    _sync(temporary)
    os.replace(temporary, path)
    if os.name == 'posix':  # elsewhere folders cannot be opened
        _sync(path.parent)


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Say which file there was no room for, which the system's own message does not.

    Raises:
        OSError: As the block does.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OSError(
            error.errno,
            f'{path} cannot be written, there is no room for it ({error.strerror}). '
            'What was written before is untouched: make room and start again',
        ) from error


def remove_leftovers(folder: Path, stem: str | None = None) -> None:
    """Delete what killed processes left unfinished in a folder.

    Only for who has these files to himself: one that is being written goes, too.

    Args:
        folder: The folder, without subfolders.
        stem: Only files of this name without extension.
    """
    for entry in os.scandir(folder):
        match = _LEFTOVER.fullmatch(entry.name)
        if match and stem in (None, match[1]):
            os.unlink(entry.path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
