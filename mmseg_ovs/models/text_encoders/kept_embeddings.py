"""The text embeddings of the vocabularies that were used last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class KeptEmbeddings:
    """A small cache of embeddings by the rows they belong to, which threads share.

    Args:
        limit: Bytes kept; the least recently used embeddings go first, the last used
            stay whatever they take.
    """

    def __init__(self, limit: int = 2**28) -> None:
        self.limit = limit
        self._kept: dict[tuple[str, ...], Tensor] = {}  # the last used at the end
        self._lock = threading.RLock()

    def get(
        self,
        rows: tuple[str, ...],
        encode: Callable[[Sequence[str]], Tensor],
        device: torch.device,
    ) -> Tensor:
        """Embeddings of rows on a device, computed by ``encode`` if they are not kept.

        One thread computes at a time: text towers change their tables while they run.
        """
        with self._lock:
            embeddings = self._kept.pop(rows, None)
            if embeddings is None:
                embeddings = encode(rows)
            self._kept[rows] = embeddings = embeddings.to(device)
            while len(self._kept) > 1 and self._bytes() > self.limit:
                del self._kept[next(iter(self._kept))]
            return embeddings

    def clear(self) -> None:
        """Forget all embeddings."""
        with self._lock:
            self._kept.clear()

    @property
    def device(self) -> torch.device:
        """Where the last embeddings are; the CPU if there are none."""
        with self._lock:
            kept = list(self._kept.values())
        return kept[-1].device if kept else torch.device('cpu')

    def _bytes(self) -> int:
        return sum(kept.nbytes for kept in self._kept.values())

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_lock': None}  # locks cannot be copied

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _lock=threading.RLock())
