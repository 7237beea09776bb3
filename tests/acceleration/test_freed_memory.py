"""Freed memory serves the next tensor, unless the user tuned the C library."""

import os
import platform
import subprocess
import sys

import pytest

from mmseg_ovs.acceleration import freed_memory

PAGES = """
import resource, runpy, sys
from concurrent.futures import ThreadPoolExecutor

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b'x' * 2**26
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = runpy.run_path(sys.argv[1])['keep_freed_memory']()
for _ in range(4):  # the heap grows
    faults()
with ThreadPoolExecutor(1) as pool:  # as the page that answers in a thread
    for _ in range(4):
        pool.submit(faults).result()
    print(kept, faults(), pool.submit(faults).result())
"""


RESIDENT = """
import runpy, sys
from pathlib import Path

def pages():
    return int(Path('/proc/self/statm').read_text().split()[1])

module = runpy.run_path(sys.argv[1])
module['keep_freed_memory']()
blocks = [b'x' * 2**20 for _ in range(200)]
del blocks[:-1]
before = pages()
module['return_freed_memory']()
print(before - pages())
"""
needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != 'glibc', reason='glibc is asked'
)


def run(program, **variables):
    """What a new process prints whose C library is as it comes, but for variables."""
    others = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith('MALLOC_') and name != 'GLIBC_TUNABLES'
    }
    done = subprocess.run(
        [sys.executable, '-c', program, freed_memory.__file__],
        env=others | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@needs_glibc
@pytest.mark.parametrize('variable', [None, 'MALLOC_TRIM_THRESHOLD_', 'GLIBC_TUNABLES'])
def test_the_next_tensor_takes_the_memory_of_the_last(variable):
    kept, *faults = run(PAGES, **({variable: '131072'} if variable else {}))
    assert kept == str(variable is None)
    for count in faults:  # in the main thread and in another; of 32 huge pages or more
        assert (int(count) < 20) is (variable is None)


@pytest.mark.parametrize('largest', [2**31 - 1, 2**25, 0])
def test_older_libraries_take_a_smaller_size(largest, monkeypatch):
    """They refuse an M_MMAP_THRESHOLD of more than 32 MiB."""
    taken = {}

    class Library:
        def mallopt(self, parameter, value):
            if parameter == -3 and value > largest:
                return 0
            taken[parameter] = value
            return 1

    for name in [*os.environ]:
        if name.startswith('MALLOC_') or name == 'GLIBC_TUNABLES':
            monkeypatch.delenv(name)
    monkeypatch.setattr(freed_memory, '_has_glibc', lambda: True)
    monkeypatch.setattr(freed_memory.ctypes, 'CDLL', lambda name: Library())
    assert freed_memory.keep_freed_memory() == bool(largest)
    expected = {-3: min(largest, 2**30), -1: 2**30, -8: 1} if largest else {}
    assert taken == expected


@needs_glibc
def test_kept_memory_can_be_given_back():
    (pages,) = run(RESIDENT)
    assert int(pages) > 40_000  # of 50,944
