"""Runs the rows of a benchmark, each in a process of its own, one on each device."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .rows import PENDING, Row

_POLL = 0.2  # seconds
_TAIL = 15  # lines of a log that a failure shows


def run_rows(
    rows: Sequence[Row],
    script: Path,
    devices: Sequence[str],
    report: Callable[[Row], None],
    options: Sequence[str] = (),
) -> None:
    """Run what is pending.

    Args:
        rows: Their status and result are filled in.
        script: ``tools/test.py``, which is called with the row's config.
        devices: 'cpu' or GPU numbers, as in ``CUDA_VISIBLE_DEVICES``; one process
            runs on each at a time.
        report: Called after each row.
        options: Of the script, for all rows.
    """
    waiting = [row for row in rows if row.status == PENDING]
    running: dict[str, tuple[Row, subprocess.Popen]] = {}
    try:
        while waiting or running:
            for device in devices:
                if waiting and device not in running:
                    row = waiting.pop(0)
                    running[device] = row, _start(row, script, device, options)
            for device, (row, process) in list(running.items()):
                if process.poll() is not None:
                    del running[device]
                    _finish(row, process.returncode)
                    report(row)
            if running:
                time.sleep(_POLL)
    finally:  # interrupted: nothing goes on unseen
        for _, process in running.values():
            process.kill()
            process.wait()


def _start(
    row: Row, script: Path, device: str, options: Sequence[str]
) -> subprocess.Popen:
    visible = '' if device == 'cpu' else device
    env = dict(os.environ, CUDA_VISIBLE_DEVICES=visible)
    command = [sys.executable, str(script), str(row.folder / 'config.py'), *options]
    if row.model.checkpoint:  # parts that it has need no weights of their own then
        command.append(row.model.checkpoint)
    with open(row.folder / 'log.txt', 'wb') as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
            preexec_fn=_die_with_parent if sys.platform == 'linux' else None,
        )


_LIBC = ctypes.CDLL(None) if sys.platform == 'linux' else None
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """A killed benchmark leaves no test behind that would run beside the next one."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _finish(row: Row, code: int) -> None:
    log = row.folder / 'log.txt'
    if code == 0:
        row.read_result()
        if row.status == PENDING:
            row.fail(f'no result was written; see {log}')
        return
    lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
    tail = '\n'.join(line for line in lines if line.strip()).splitlines()[-_TAIL:]
    row.fail(f'exit code {code}; the end of {log}:\n' + '\n'.join(tail))
