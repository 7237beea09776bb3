"""Time and peak memory of functions that take turns in one process."""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mmseg_ovs.acceleration import keep_freed_memory, return_freed_memory

Runs = Mapping[str, Callable[[], Any]]


class Cell(NamedTuple):
    """Median seconds, and the memory that a call needs beyond what the process held."""

    seconds: float
    mb: float


def take_turns(runs: Runs, count: int) -> tuple[dict[str, Cell], dict[str, Any]]:
    """Run functions by turns, ``count`` times each; their cells and last results.

    One thread is timed by its own clock, so that other work on the machine counts
    little.
    """
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    results: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {name: [] for name in runs}

    def run(name: str) -> None:
        begin = clock()
        results[name] = runs[name]()
        seconds[name].append(clock() - begin)

    memory = {name: _peak_mb(partial(run, name)) for name in runs}
    for _ in range(count - 1):
        for name in runs:
            run(name)
    cells = {n: Cell(statistics.median(seconds[n]), memory[n]) for n in runs}
    return cells, results


def parse_args(doc: str, **options: dict) -> argparse.Namespace:
    """Read a command line with ``--threads``, ``--runs`` and further options.

    Without ``--stock-memory`` the process keeps freed memory, as inference does. What
    the C library did before shows only in a process of its own.
    """
    parser = argparse.ArgumentParser(description=doc.split('\n')[0])
    parser.add_argument('--threads', type=int, default=1, help='torch threads')
    parser.add_argument('--runs', type=int, default=3, help='runs of each variant')
    parser.add_argument(
        '--stock-memory', action='store_true', help='do not keep freed memory'
    )
    for name, option in options.items():
        parser.add_argument(name, **option)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    kept = not args.stock_memory and keep_freed_memory()
    memory = 'freed memory is kept' if kept else 'the C library handles freed memory'
    print(f'torch {torch.__version__}, {args.threads} thread(s); {memory}')
    return args


def _peak_mb(function: Callable[[], None]) -> float:
    gc.collect()
    return_freed_memory()
    Path('/proc/self/clear_refs').write_text('5')  # resets the high-water mark
    before = _resident_mb('VmRSS')
    function()
    return _resident_mb('VmHWM') - before


def _resident_mb(field: str) -> float:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(x.split()[1]) / 1024 for x in lines if x.startswith(field))
