"""How much the labels of a video flicker."""

from __future__ import annotations

import cv2
import numpy as np

from mmseg_ovs.utils import OpenVocabError, is_number

_BLUR = (5, 5)  # of the noise of cameras and codecs


class Flicker:
    """Share of pixels that change their label where the video does not change.

    Of two consecutive frames those pixels count whose mean colour over 5 x 5 pixels
    differs by at most ``tolerance`` in each of red, green and blue. What moves within
    an even area counts, too: nothing is seen to change there. Labels that change along
    with the light of a whole frame do not.

    ::

        flicker = Flicker()
        for prediction in inferencer.predict(Video('clip.mp4'), classes):
            flicker.update(prediction.image, prediction.labels)
        flicker.share, flicker.still

    Args:
        tolerance: Largest difference, of 255, that is no change.

    Attributes:
        frames: Frames taken in.
    """

    def __init__(self, tolerance: float = 8) -> None:
        if not (is_number(tolerance) and tolerance >= 0):
            raise OpenVocabError(f'tolerance has to be at least 0, not {tolerance!r}')
        self.tolerance = tolerance
        self.frames = self._pixels = self._still = self._changed = 0
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def update(self, image: np.ndarray, labels: np.ndarray) -> None:
        """Take in the next frame.

        Args:
            image: uint8 (H, W, 3).
            labels: Label map (H, W).

        Raises:
            OpenVocabError: Image and labels, or two frames, differ in size; or the
                image is of another kind.
        """
        if image.dtype != np.uint8 or image.ndim != 3:
            raise OpenVocabError(
                f'A frame has to be uint8 (H, W, 3), not {image.dtype} {image.shape}'
            )
        if image.shape[:2] != labels.shape:
            raise OpenVocabError(
                f'The labels have {labels.shape} pixels (height, width), their frame '
                f'{image.shape[:2]}'
            )
        colours = cv2.blur(image, _BLUR).astype(np.int16)
        if self._before is not None:
            old_colours, old_labels = self._before
            if old_labels.shape != labels.shape:
                raise OpenVocabError(
                    f'Frame {self.frames} has {labels.shape} pixels (height, width), '
                    f'those before {old_labels.shape}: flicker is between frames of '
                    'one size'
                )
            change = np.abs(colours - old_colours).max(axis=2)
            still = change <= self.tolerance
            self._pixels += still.size
            self._still += int(still.sum())
            self._changed += int((still & (labels != old_labels)).sum())
        self._before = colours, labels.copy()  # callers may reuse the array
        self.frames += 1

    @property
    def share(self) -> float:
        """Share of the unchanged pixels that flicker, 0..1; NaN without any."""
        return self._changed / self._still if self._still else float('nan')

    @property
    def still(self) -> float:
        """Share of all pixels that do not change from frame to frame; NaN without."""
        return self._still / self._pixels if self._pixels else float('nan')
