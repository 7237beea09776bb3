"""Files that are either the old one or the new one, never half of it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside ``path``; it takes ``path``'s place at the end.

    Missing folders are made. If the block raises, ``path`` stays as it was. The
    temporary name ends as ``path`` does, for writers that look at the extension.
    """
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.stem}-{uuid.uuid4().hex}.tmp{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
