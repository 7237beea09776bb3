"""Videos: frames read one by one, overlays written one by one."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mmseg_ovs.utils import replacing

from .image_sources import ImageSource
from .video_encoders import H264Encoder, OpenCVEncoder, VideoError, make_encoder

# Containers without an index estimate their number of frames.
_TOLERANCE = 0.02


class Video:
    """The frames of a video, as an iterable of images; one is in memory at a time.

    Not ``mmcv.VideoReader``: that seeks whenever the decoder's position differs from
    its own count, which is before every frame for some containers, and keeps frames.

    Args:
        path: Path or URL, in any format that OpenCV reads.
        every: Take every so-manieth frame, from the first on.

    Attributes:
        fps: Frames taken per second of the video.
        num_frames: How many frames will be taken, as the container tells before they
            are read; 0: it does not.

    Raises:
        VideoError: It cannot be opened.
    """

    def __init__(self, path: str | os.PathLike, every: int = 1) -> None:
        if every < 1:
            raise ValueError(f'every has to be at least 1, not {every}')
        self.path = os.fspath(path)
        self.every = every
        capture = self._open()
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = (fps if 0 < fps < math.inf else 25.0) / every
        count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.num_frames = math.ceil(count / every)
        capture.release()
        self._taken = 0

    def __iter__(self) -> Iterator[ImageSource]:
        capture = self._open()
        self._taken = index = 0
        try:
            while capture.grab():
                if index % self.every == 0:
                    good, frame = capture.retrieve()
                    if not good:
                        break
                    yield ImageSource(self.path, frame, index)
                    self._taken += 1
                index += 1
        finally:
            capture.release()

    def check_complete(self) -> None:
        """To be called after the last frame.

        Raises:
            VideoError: There were noticeably fewer frames than the video announced.
        """
        missing = self.num_frames - self._taken
        if missing > max(2, _TOLERANCE * self.num_frames):
            raise VideoError(
                f'it ends after {self._taken} of {self.num_frames} frames: it is '
                'truncated or damaged'
            )

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self.path)
        if not capture.isOpened():
            raise VideoError('not readable as a video')
        return capture


@contextmanager
def writing_video(path: str | os.PathLike, fps: float) -> Iterator[VideoWriter]:
    """Write an MP4 file, which appears under its name when it is complete.

    It is H.264, which browsers play, if PyAV is installed; else MPEG-4, with a warning.

    ::

        with writing_video('out.mp4', fps=25) as writer:
            writer.write(frame)

    Args:
        path: Where to. Missing folders are made.
        fps: Frames per second.

    Raises:
        VideoError: The video cannot be encoded, frames differ in size, there are none,
            or not all could be written.
    """
    with replacing(path) as temporary:
        writer = VideoWriter(temporary, fps)
        try:
            yield writer
        finally:
            writer.release()
        writer.check()


class VideoWriter:
    """Appends frames to an MP4 file; see :func:`writing_video`.

    The encoders drop frames that they cannot write without a word, so they are counted.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self._encoder: H264Encoder | OpenCVEncoder | None = None
        self._written = 0

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 RGB (H, W, 3), of the size of those before."""
        size = frame.shape[1::-1]
        if self._encoder is None:
            self._size = size
            self._encoder = make_encoder(self.path, self.fps, size)
        if size != self._size:
            raise VideoError(
                f'frame {self._written} is {size[0]} x {size[1]} pixels, those before '
                f'{self._size[0]} x {self._size[1]}'
            )
        self._encoder.write(frame)
        self._written += 1

    def release(self) -> None:
        """End the file."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.release()

    def check(self) -> None:
        """Raise :class:`VideoError` unless the file holds what was written."""
        if not self._written:
            raise VideoError('no frame of it could be read')
        kept = Video(self.path).num_frames
        if kept != self._written:
            raise VideoError(
                f'only {kept} of {self._written} frames could be written: is the disk '
                'full?'
            )
