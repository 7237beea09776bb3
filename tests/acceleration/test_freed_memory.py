"""Freed memory serves the next tensor, unless the user tuned the C library."""

import os
import platform
import subprocess
import sys

import pytest

from mmseg_ovs.acceleration import freed_memory

PAGES = """
import resource, runpy, sys

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b'x' * 2**26
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = runpy.run_path(sys.argv[1])['keep_freed_memory']()
for _ in range(4):  # the heap grows
    faults()
print(kept, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='glibc is asked')
@pytest.mark.parametrize('variable', [None, 'MALLOC_TRIM_THRESHOLD_', 'GLIBC_TUNABLES'])
def test_the_next_tensor_takes_the_memory_of_the_last(variable):
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith('MALLOC_') and name != 'GLIBC_TUNABLES'
    }
    if variable:
        environment[variable] = '131072'
    done = subprocess.run(
        [sys.executable, '-c', PAGES, freed_memory.__file__],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults = done.stdout.split()
    assert kept == str(variable is None)
    assert (int(faults) < 1000) is (variable is None)  # of 16,384 pages
