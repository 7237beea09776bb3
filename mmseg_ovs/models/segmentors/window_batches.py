"""How many windows run together: what fits into memory."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeVar

import torch

from mmseg_ovs.utils import OpenVocabError

View = TypeVar('View')
Result = TypeVar('Result')

# More do not fill a GPU any better.
_MOST = 64
# Of the free memory; allocators need room to move.
_SHARE = 0.7


class Memory(Protocol):
    """The memory of a device."""

    def free(self) -> int:
        """Bytes that could be allocated now."""

    def measure(self, call: Callable[[], Result]) -> tuple[Result, int]:
        """Run a call: its result, and the bytes that it took at most."""

    def taken(self) -> int:
        """Bytes that a call took at most until it failed."""


class CUDAMemory:
    """Memory of a GPU, as PyTorch's allocator sees it.

    Args:
        device: Which.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def free(self) -> int:
        """Free on the GPU, and held by the allocator without use."""
        free, _ = torch.cuda.mem_get_info(self.device)
        held = torch.cuda.memory_reserved(self.device)
        return free + held - torch.cuda.memory_allocated(self.device)

    def measure(self, call: Callable[[], Result]) -> tuple[Result, int]:
        """See :class:`Memory`."""
        torch.cuda.reset_peak_memory_stats(self.device)
        self.before = torch.cuda.memory_allocated(self.device)
        return call(), self.taken()

    def taken(self) -> int:
        """See :class:`Memory`."""
        return torch.cuda.max_memory_allocated(self.device) - self.before


class WindowBatches:
    """Runs windows in batches.

    A fixed ``size`` is kept to. Without one a batch fills the memory of the device: the
    first of a kind runs alone and is measured. Where memory is short nevertheless, a
    batch is halved and run again; where one window is too much, the error says which
    size would fit. A device without ``memory`` of its own, a CPU, takes
    windows one by one: more at a time are not faster there, and take more memory.

    Args:
        size: Windows at a time.
        memory: Memory of the device.
        known: Bytes that one window of a kind takes; kept by the caller.
    """

    def __init__(
        self, size: int | None, memory: Memory | None, known: dict[Hashable, int]
    ) -> None:
        self.size = size
        self.memory = memory
        self.known = known

    @classmethod
    def on(
        cls, device: torch.device, size: int | None, known: dict[Hashable, int]
    ) -> WindowBatches:
        """Batches on a device."""
        memory = CUDAMemory(device) if device.type == 'cuda' else None
        return cls(size, memory, known)

    def run(
        self,
        views: Sequence[View],
        call: Callable[[Sequence[View]], Result],
        kind: Hashable,
        window: tuple[int, int],
    ) -> list[Result]:
        """What ``call`` returns for consecutive batches of all views.

        Args:
            views: Windows that fit into one batch.
            call: Runs a batch.
            kind: Equal for windows that take equal memory.
            window: Height and width of a window.

        Raises:
            OpenVocabError: One window alone is too much for the memory, or ``size``
                are; says what would fit.
        """
        results: list[Result] = []
        start = 0
        while start < len(views):
            batch = views[start : start + self._count(kind)]
            result = self._attempt(batch, call, kind, window)
            if result is not None:
                results.append(result[0])
                start += len(batch)
        return results

    def _count(self, kind: Hashable) -> int:
        if self.size is not None:
            return self.size
        if self.memory is None or kind not in self.known:
            return 1
        room = _SHARE * self.memory.free() / max(1, self.known[kind])
        return max(1, min(_MOST, int(room)))

    def _attempt(
        self,
        batch: Sequence[View],
        call: Callable[[Sequence[View]], Result],
        kind: Hashable,
        window: tuple[int, int],
    ) -> tuple[Result] | None:
        """The result, or None where a smaller batch has to be tried."""
        if self.memory is None:
            return (call(batch),)
        free = self.memory.free()
        try:
            if len(batch) > 1 or kind in self.known:
                return (call(batch),)
            result, self.known[kind] = self.memory.measure(lambda: call(batch))
            return (result,)
        except torch.cuda.OutOfMemoryError as error:
            if self.size is not None and len(batch) > 1:
                raise OpenVocabError(
                    f'test_cfg.window_batch_size={self.size} windows of {window[0]} x '
                    f'{window[1]} pixels do not fit into the memory of the GPU: set it '
                    'to None, which takes as many as fit'
                ) from error
            if len(batch) == 1:
                needed = self.known.get(kind) or self.memory.taken() + asked(error)
                raise OpenVocabError(_too_large(window, free, needed)) from error
        # Here the error is gone, and what it held of the failed batch. As if a window
        # took so much that half the batch fills the memory:
        self.known[kind] = int(2 * _SHARE * self.memory.free() / len(batch)) + 1
        return None


def asked(error: torch.cuda.OutOfMemoryError) -> int:
    """Bytes of the allocation that failed; 0 if the error does not say."""
    found = re.search(r'allocate ([\d.]+) ([KMG])iB', str(error))
    if found is None:
        return 0
    return int(float(found[1]) * 1024 ** ('KMG'.index(found[2]) + 1))


def _too_large(window: tuple[int, int], free: int, needed: int) -> str:
    """What to do where one window does not fit; memory grows as its area, or faster."""
    side = math.sqrt(_SHARE * min(1, free / max(1, needed)))
    fits = ' x '.join(str(max(16, int(side * length) // 16 * 16)) for length in window)
    return (
        f'One window of {window[0]} x {window[1]} pixels (height x width) does not fit '
        f'into the memory of the GPU ({free / 2**20:,.0f} MiB free, at least '
        f'{needed / 2**20:,.0f} MiB needed). Windows of about {fits} would: set '
        'test_cfg.crop_size and stride (mode slide) or test_cfg.input_size, try '
        '--bf16, or run on the CPU (--device cpu)'
    )
