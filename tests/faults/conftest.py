"""A disk that has no room for large files."""

import signal

import pytest

resource = pytest.importorskip('resource', reason='not on this system')


@pytest.fixture
def small_disk():
    """Files cannot grow beyond 100 kB; called with a size, or none, it moves the limit.

    The limit of a process on its files (``RLIMIT_FSIZE``) stands in for a full disk: a
    write fails in the midst of a file, with an error of the system.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # An error, not the end of the process.
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def move(size: int = before[0]) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    move(100_000)
    yield move
    move()
    signal.signal(signal.SIGXFSZ, handler)
