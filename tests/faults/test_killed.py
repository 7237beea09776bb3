"""Killed and started again: the result is that of an undisturbed run.

``kill_many.py`` does the same many times, and to more. Killed as well: converters
(test_conversion.py) and benchmarks (test_benchmark.py).
"""

import multiprocessing
import random
import time
from pathlib import Path

import pytest
from kill_many import Features, PseudoMasks, TeacherFeatures, Training, kill_many

from mmseg_ovs.utils import remove_leftovers, replacing

SIZE = 20_000_000  # bytes, so that most kills come while they are written


@pytest.mark.slow
@pytest.mark.parametrize(
    ('kind', 'times'),
    [(Training, 1), (Features, 2), (TeacherFeatures, 1), (PseudoMasks, 2)],
)
def test_killed(kind, times, tmp_path):
    """The second time when something is finished."""
    count, failures = kill_many(kind, tmp_path, times, random.Random(3))
    assert not failures
    assert count.survived == times


def write_forever(path: Path) -> None:
    while True:
        for byte in b'ab':
            with replacing(path) as temporary:
                temporary.write_bytes(bytes([byte]) * SIZE)


def test_a_file_is_the_old_one_or_the_new_one_at_any_moment(tmp_path):
    path = tmp_path / 'file.bin'
    context = multiprocessing.get_context('forkserver')
    unfinished = 0
    for trial in range(100):  # on a busy machine most kills come between two files
        process = context.Process(target=write_forever, args=(path,))
        process.start()
        stamp = path.stat().st_mtime_ns if trial else None
        deadline = time.monotonic() + 60
        while not path.exists() or path.stat().st_mtime_ns == stamp:
            assert time.monotonic() < deadline and process.is_alive()
            time.sleep(0.001)
        time.sleep(random.Random(trial).uniform(0, 0.05))
        process.kill()
        process.join()
        content = path.read_bytes()
        assert len(content) == SIZE and len(set(content)) == 1
        unfinished += len(list(tmp_path.iterdir())) - 1
        remove_leftovers(tmp_path)
        assert list(tmp_path.iterdir()) == [path]
        if unfinished and trial >= 4:
            break
    assert unfinished, 'no kill came while a file was written'
