"""What turns frames into an MP4 file."""

from __future__ import annotations

import logging
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log

from mmseg_ovs.utils import MissingLibraryError, load_extra

from .image_sources import ImageError

# Constant quality of x264: 0 loses nothing, 51 is the worst. Its own default is 23.
_QUALITY = '20'


class VideoError(ImageError):
    """A video that cannot be read or written, or not to its end."""


def make_encoder(
    path: Path, fps: float, size: tuple[int, int]
) -> H264Encoder | OpenCVEncoder:
    """The best encoder that is installed.

    Args:
        path: The file.
        fps: Frames per second.
        size: Width and height in pixels.

    Raises:
        VideoError: It does not take this size.
    """
    try:
        return H264Encoder(path, fps, size)
    except MissingLibraryError as error:
        _warn(f'Videos are written as MPEG-4, which browsers do not play. {error}')
        return OpenCVEncoder(path, fps, size)


class H264Encoder:
    """H.264 by PyAV, in the form that all browsers play; arguments: make_encoder.

    The last row and column of odd sizes are dropped: colours are halved in size.

    Raises:
        MissingLibraryError: PyAV is not installed, or has no libx264.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        self._av = load_extra('av', 'video', 'H.264')
        if 'libx264' not in self._av.codecs_available:
            raise MissingLibraryError('This PyAV has no libx264')
        self._width, self._height = (side - side % 2 for side in size)
        if not self._width or not self._height:
            raise _unfit(size, 'H.264')
        # The index comes first, so that browsers start before the file is loaded.
        options = dict(movflags='+faststart')
        self._file = self._av.open(str(path), 'w', format='mp4', options=options)
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = self._file.add_stream('libx264', rate=rate)
        self._stream.width, self._stream.height = self._width, self._height
        self._stream.pix_fmt = 'yuv420p'
        self._stream.options = dict(crf=_QUALITY)

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 RGB (H, W, 3)."""
        pixels = np.ascontiguousarray(frame[: self._height, : self._width])
        picture = self._av.VideoFrame.from_ndarray(pixels, format='rgb24')
        self._file.mux(self._stream.encode(picture))

    def release(self) -> None:
        """End the file."""
        self._file.mux(self._stream.encode())
        self._file.close()


class OpenCVEncoder:
    """MPEG-4 by OpenCV; arguments: make_encoder."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        codec = cv2.VideoWriter_fourcc(*'mp4v')  # in every build of OpenCV with FFmpeg
        self._writer = cv2.VideoWriter(str(path), codec, fps, size)
        if not self._writer.isOpened():
            raise _unfit(size, 'mp4v')

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 RGB (H, W, 3)."""
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def release(self) -> None:
        """End the file."""
        self._writer.release()


def _unfit(size: tuple[int, int], codec: str) -> VideoError:
    return VideoError(
        f'cannot write MP4 videos of {size[0]} x {size[1]} pixels (codec {codec})'
    )


@lru_cache(1)
def _warn(message: str) -> None:
    """Once a process."""
    print_log(message, logger='current', level=logging.WARNING)
