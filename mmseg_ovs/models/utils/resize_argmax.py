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


def rows_per_chunk(size: tuple[int, int], chunk_mb: float) -> int:
    """How many float32 maps of a size fit into ``chunk_mb`` MiB, at least one."""
    return max(1, int(chunk_mb * 2**20 / (4 * size[0] * size[1])))


def resize_argmax(
    scores: Tensor,
    argmax: RunningArgmax,
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
