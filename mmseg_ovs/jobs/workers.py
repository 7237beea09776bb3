"""One job in a folder at a time, with several processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from .settings import JobError

_POOL_FROM = 64  # tasks; fewer are done before processes have started
Task = TypeVar('Task')
Result = TypeVar('Result')


@contextmanager
def alone(folder: Path, name: str = '') -> Iterator[None]:
    """Keep other processes from writing to a folder, which is made if missing.

    Args:
        folder: The folder.
        name: Of the job, if others may write to the folder at the same time.

    Raises:
        JobError: Another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / (f'.{name}.lock' if name else '.lock')
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout as error:
        raise JobError(f'another process is writing to {folder / name}') from error


def run_all(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Result]:
    """Results of a function, in the order of its tasks.

    Args:
        function: Importable by its name.
        tasks: Its arguments.
        workers: Processes; few tasks are done in this one.

    Raises:
        JobError: A worker was killed.
    """
    if workers == 1 or len(tasks) < _POOL_FROM:
        yield from map(function, tasks)
        return
    try:
        with ProcessPoolExecutor(workers, initializer=_end_with_parent) as pool:
            yield from pool.map(function, tasks, chunksize=8)
    except BrokenProcessPool as error:
        raise JobError(
            'a worker was killed (out of memory?): start again, with fewer --workers; '
            'what is done stays done'
        ) from error


def _end_with_parent() -> None:
    """Workers of a killed process would wait for ever, and hold its output open."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
