"""Long jobs that may be killed at any moment and started again.

What they write is either whole or not there, says in which setting it was made, and is
known by its SHA-256. What is there and intact is not made again.
"""

from .digests import canonical, digest, file_digest, sha256
from .settings import (
    JobError,
    differing_keys,
    plain,
    read_json,
    require_same,
    write_json,
)
from .workers import alone, run_all

__all__ = [
    'JobError',
    'alone',
    'canonical',
    'differing_keys',
    'digest',
    'file_digest',
    'plain',
    'read_json',
    'require_same',
    'run_all',
    'sha256',
    'write_json',
]
