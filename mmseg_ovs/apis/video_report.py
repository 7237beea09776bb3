"""Whether a video keeps up with its own rate, where the time goes, its flicker."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from mmseg_ovs.evaluation import Flicker
from mmseg_ovs.models.segmentors import Temporal

from .prediction import Prediction

Item = TypeVar('Item')


class Timed(Iterator[Item], Generic[Item]):
    """An iterator that knows how long it was waited for.

    Attributes:
        seconds: So far.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self.seconds = 0.0

    def __next__(self) -> Item:
        """The next item."""
        start = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.seconds += time.perf_counter() - start


class VideoReport:
    """Measures from its construction on.

    Args:
        rate: Frames per second of the video, of those that are taken.
        frames: The frames, of which it counts the time of decoding.
        temporal: The strategy, whose time is told apart from the model's.
    """

    def __init__(
        self, rate: float, frames: Iterable, temporal: Temporal | None = None
    ) -> None:
        self.rate, self.temporal = rate, temporal
        self.frames = Timed(frames)
        self.flicker = Flicker()
        self._start = time.perf_counter()

    def watch(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """The predictions of ``frames``, measured; what fails is passed on."""
        self._predictions = Timed(predictions)
        for prediction in self._predictions:
            if prediction.error is None:
                self.flicker.update(prediction.image, prediction.labels)
            yield prediction

    def seconds(self) -> dict[str, float]:
        """Seconds a frame by part, when all is done.

        On a GPU the strategy's work is queued, and its time is the model's.
        """
        total = time.perf_counter() - self._start
        decode, predict = self.frames.seconds, self._predictions.seconds
        temporal = 0.0 if self.temporal is None else self.temporal.seconds
        parts = {'decode': decode, 'model': predict - decode - temporal}
        if self.temporal is not None:
            parts['temporal'] = temporal
        parts['draw and write'] = total - predict
        count = max(1, self.flicker.frames)
        return {name: seconds / count for name, seconds in parts.items()}

    def describe(self) -> str:
        """Two lines, when all is done."""
        parts = self.seconds()
        speed = 1 / sum(parts.values())
        times = ', '.join(f'{name} {value:.3f}' for name, value in parts.items())
        flicker = self.flicker
        told = 'unknown (no pixel stays as it is from one frame to the next)'
        if flicker.still > 0:
            told = (
                f'{flicker.share:.2%} of the pixels that do not change '
                f'({flicker.still:.0%} of all)'
            )
        return (
            f'{speed:.1f} of {self.rate:.4g} frames a second '
            f'({speed / self.rate:.2g} x real time); seconds a frame: {times}\n'
            f'labels flicker: {told}'
        )
