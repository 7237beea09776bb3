"""Resize score maps and take the best row, a few rows at a time."""

from __future__ import annotations

import math

import torch
from mmseg.models.utils import resize
from torch import Tensor


class RunningArgmax:
    """Arg max over maps that arrive in chunks; ties go to the first, as in torch.

    Args:
        size: Height and width.
        device: Where the maps live.
        dtype: Data type of the maps.
        scale: Also follow the softmax of ``scale * scores`` over the maps; see
            :meth:`probability`.
        top: No score is above it, and ``scale`` times what the best of a pixel lies
            below it is less than 60, so that exponentials relative to it do not
            vanish. None: they are relative to the best so far, which costs more.
    """

    def __init__(
        self,
        size: tuple[int, int],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        scale: float | None = None,
        top: float | None = None,
    ) -> None:
        self.best = torch.full(size, -torch.inf, device=device, dtype=dtype)
        # Exact up to 2^24 maps; integers under a mask are several times slower.
        self._index = torch.zeros(size, device=device)
        self.total = None
        if scale is not None:
            # sum of exp(scale * (score - top)), which no large score can overflow
            self.top = self.best if top is None else top
            self.total = torch.zeros_like(self.best)
            # several times as fast as exp on a CPU
            self._exponent = scale * math.log2(math.e)

    def update(self, scores: Tensor, start: int) -> None:
        """Take in maps (n, H, W) whose first has index ``start``, in rising order."""
        moves = self.total is not None and self.top is self.best
        before = self.best.clone() if moves else None
        better = torch.empty_like(self._index)
        for offset, plane in enumerate(scores):
            torch.gt(plane, self.best, out=better)
            better *= start + offset
            torch.maximum(self._index, better, out=self._index)
            torch.maximum(self.best, plane, out=self.best)
        if self.total is not None:
            terms = torch.empty_like(self.best)
            if moves:
                self.total *= self._relative(before, terms)
            for plane in scores:
                self.total += self._relative(plane, terms)

    def renumber(self, rows: Tensor) -> None:
        """The maps taken in were these rows (n,), in rising order."""
        self._index = rows.to(self._index)[self.index]

    def absorb(self, other: RunningArgmax) -> None:
        """Take in what other maps gave; ties go to the lower index."""
        wins = other._index < self._index
        wins = (other.best > self.best) | (wins & (other.best == self.best))
        self._index = torch.where(wins, other._index, self._index)
        torch.maximum(self.best, other.best, out=self.best)

    @property
    def index(self) -> Tensor:
        """Index (H, W) of the best map of every pixel, int64."""
        return self._index.long()

    def probability(self, scores: Tensor) -> Tensor:
        """Probabilities of scores (..., H, W) among all maps that were taken in."""
        return self._relative(scores, torch.empty_like(scores)).div_(self.total)

    def _relative(self, scores: Tensor, out: Tensor) -> Tensor:
        """exp(scale * (scores - top))."""
        return torch.sub(scores, self.top, out=out).mul_(self._exponent).exp2_()


class ReachedRows:
    """Which maps reach a given map somewhere; takes them in as :class:`RunningArgmax`.

    Args:
        best: The given map (H, W).
        margin: Maps that come as near count too.
    """

    def __init__(self, best: Tensor, margin: float) -> None:
        self.best = best
        self._least = best - margin
        self.reached: list[bool] = []

    def update(self, scores: Tensor, start: int) -> None:
        """Take in maps (n, H, W) whose first has index ``start``, in rising order."""
        # not >=: a NaN reaches everything
        self.reached += [not bool((s < self._least).all()) for s in scores]


def rows_per_chunk(size: tuple[int, int], chunk_mb: float) -> int:
    """How many float32 maps of a size fit into ``chunk_mb`` MiB, at least one."""
    return max(1, int(chunk_mb * 2**20 / (4 * size[0] * size[1])))


def resize_argmax(
    scores: Tensor,
    argmax: RunningArgmax | ReachedRows,
    start: int = 0,
    align_corners: bool = False,
    chunk_mb: float = 30,
) -> None:
    """Bilinear resize to the size of ``argmax`` and update it, in chunks.

    The labels are bit-equal to ``resize(scores).argmax(0)``, but at most ``chunk_mb``
    MiB of resized maps exist at a time. (Up to 64 x 64 pixels, PyTorch resizes few and
    many channels by kernels that differ in the last bit.) Chunks under 32 MiB are also
    several times faster on CPU: larger blocks are handed back to the system and faulted
    in again.

    Args:
        scores: (n, h, w).
        argmax: Receives the resized maps.
        start: Index of the first map.
        align_corners: As in ``torch.nn.functional.interpolate``.
        chunk_mb: Size of a chunk of resized maps in MiB.
    """
    size = tuple(argmax.best.shape)
    chunk = rows_per_chunk(size, chunk_mb)
    for i in range(0, len(scores), chunk):
        part = scores[i : i + chunk]
        if tuple(part.shape[-2:]) != size:
            part = resize(
                part[:, None],  # one channel each: PyTorch rounds 3 channels otherwise
                size,
                mode='bilinear',
                align_corners=align_corners,
                warning=False,
            )[:, 0]
        argmax.update(part, start + i)
