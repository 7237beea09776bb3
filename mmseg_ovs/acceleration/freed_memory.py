"""Memory that one layer frees is there for the next."""

from __future__ import annotations

import ctypes
import os
import platform

# Parameters of mallopt(3). Blocks beyond a size come from the system one by one, and
# free memory beyond a size at the end of the heap goes back to it. By default threads
# have heaps of their own, which hold no block of 64 MiB and keep what others could use.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT = 2**30
_KEPT_BY_OLDER = 2**25  # the most that older versions of glibc take for the second


def keep_freed_memory() -> bool:
    """Let the C library keep up to 1 GiB of freed memory in this process.

    By default it gives large blocks back to the system at once, and the next tensor
    faults them in again, page by page: a quarter of the time of cost aggregation. The
    peak of a process is hardly higher, but it keeps that memory between images, for all
    threads together that start later. With an older glibc (2.31 for one) blocks of more
    than 32 MiB still go back.

    Returns:
        Whether it does: with glibc, unless its variables ``MALLOC_...`` or
        ``GLIBC_TUNABLES`` are set, which stay in force.
    """
    tuned = any(
        name == 'GLIBC_TUNABLES' or name.startswith('MALLOC_') for name in os.environ
    )
    if tuned or not _has_glibc():
        return False
    set_to = ctypes.CDLL(None).mallopt  # answers whether it did
    reused = any(set_to(_MMAP_THRESHOLD, x) for x in (_KEPT, _KEPT_BY_OLDER))
    return bool(reused and set_to(_TRIM_THRESHOLD, _KEPT) and set_to(_ARENA_MAX, 1))


def return_freed_memory() -> None:
    """Give free memory back to the system once, where the C library is glibc."""
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _has_glibc() -> bool:
    return platform.libc_ver()[0] == 'glibc'
