"""Runs functions in processes of their own, several as one gloo group on the CPU."""

import faulthandler
import multiprocessing
import os
import socket
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_TIMEOUT = 180


def run_processes(count: int, function: Callable, *args: Any) -> list:
    """Call ``function(*args)`` in ``count`` processes; returns the results by rank.

    The environment is that of ``torchrun`` (for more than one process). Function,
    arguments and results are pickled.
    """
    context = multiprocessing.get_context('forkserver')
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
        probe.close()
        processes = [
            context.Process(
                target=_work, args=(rank, count, port, folder, function, args)
            )
            for rank in range(count)
        ]
        for process in processes:
            process.start()
        try:
            for process in processes:
                process.join(_TIMEOUT)
        finally:
            for process in processes:
                process.kill()
                process.join()
        errors = [path.read_text() for path in Path(folder).glob('*.txt')]
        codes = [process.exitcode for process in processes]
        assert codes == [0] * count, f'exit codes {codes}\n' + '\n'.join(errors)
        return [
            torch.load(Path(folder, f'{rank}.pt'), weights_only=False)
            for rank in range(count)
        ]


def _work(
    rank: int, count: int, port: int, folder: str, function: Callable, args: tuple
) -> None:
    os.environ.update(LOCAL_RANK=str(rank), OMP_NUM_THREADS='1')
    if count > 1:
        os.environ.update(
            RANK=str(rank),
            WORLD_SIZE=str(count),
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT=str(port),
        )
    torch.set_num_threads(1)
    faulthandler.enable()
    try:
        torch.save(function(*args), Path(folder, f'{rank}.pt'))
    except BaseException:
        Path(folder, f'{rank}.txt').write_text(f'rank {rank}\n{traceback.format_exc()}')
        os._exit(1)  # others wait for this one: do not wait for them
