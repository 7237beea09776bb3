"""The result for one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mmseg.structures import SegDataSample

from mmseg_ovs.structures import Vocabulary

from .coco_rle import coco_rle
from .image_sources import ImageError, ImageSource

# What the scores of one image may take while they are kept, in bytes.
LARGEST_SCORES = 2 * 2**30


@dataclass
class Prediction:
    """The result for one image.

    Attributes:
        source: The image that was asked for.
        vocabulary: The classes that were looked for.
        image: Its pixels, uint8 RGB (H, W, 3).
        sample: On the CPU, with ``pred_sem_seg`` (1, H, W) and, if scores were kept,
            ``seg_logits`` (N, H, W). None if the image failed.
        error: Why it failed.
    """

    source: ImageSource
    vocabulary: Vocabulary
    image: np.ndarray | None = None
    sample: SegDataSample | None = None
    error: Exception | None = None

    @property
    def labels(self) -> np.ndarray | None:
        """Label map, int64 (H, W); None if the image failed."""
        if self.sample is None:
            return None
        return self.sample.pred_sem_seg.data[0].numpy()

    @property
    def scores(self) -> np.ndarray | None:
        """Scores of the classes, float32 (N, H, W); None if they were not kept."""
        if self.sample is None or 'seg_logits' not in self.sample:
            return None
        return self.sample.seg_logits.data.numpy()

    def coco_rle(self) -> list[dict[str, Any]] | None:
        """Run-length masks (see :func:`coco_rle`); None if the image failed."""
        if self.sample is None:
            return None
        return coco_rle(self.labels, self.vocabulary.classes, self.scores)

    @property
    def reason(self) -> str:
        """The error in one line."""
        return ' '.join(f'{type(self.error).__name__}: {self.error}'.split())

    def refuse_large_scores(self) -> None:
        """Fail an image whose scores of all names would be too large to keep."""
        if self.error is not None:
            return
        height, width = self.image.shape[:2]
        rows = len(self.vocabulary.rows)
        needed = 4 * rows * height * width
        if needed > LARGEST_SCORES:
            self.error = ImageError(
                f'the scores of {rows} names at {width} x {height} pixels take '
                f'{needed / 2**20:.1f} MiB, more than {LARGEST_SCORES / 2**20:.1f}: '
                'ask for fewer classes, give a smaller image or do without scores'
            )
