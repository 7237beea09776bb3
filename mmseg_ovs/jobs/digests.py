"""SHA-256 of texts, values and files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def sha256(*parts: str | bytes | np.ndarray) -> str:
    """SHA-256 of texts and bytes, one after the other."""
    return _digest_of(parts)


def _digest_of(parts: Iterable[str | bytes | np.ndarray]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def canonical(value: Any) -> str:
    """JSON in one line, the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(',', ':'))


def digest(value: Any) -> str:
    """SHA-256 of a JSON-like value."""
    return sha256(canonical(value))


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, read piece by piece."""
    with open(path, 'rb') as file:
        return _digest_of(iter(lambda: file.read(1 << 20), b''))
