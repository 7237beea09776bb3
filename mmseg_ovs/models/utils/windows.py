"""Sliding windows: where they lie, cutting them out, putting them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Window(NamedTuple):
    """Half-open rectangle in pixels: rows top..bottom, columns left..right."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left


def _starts(length: int, crop: int, stride: int) -> list[int]:
    steps = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(i * stride, length - crop), 0) for i in range(steps)]


def window_grid(
    size: tuple[int, int], crop: tuple[int, int], stride: tuple[int, int]
) -> list[Window]:
    """Windows that cover an image, row by row, as MMSegmentation lays them.

    The last window of a row or column is moved back inside; a window larger than the
    image shrinks to it.

    Args:
        size: Height and width of the image.
        crop: Height and width of a window.
        stride: Vertical and horizontal step.

    Raises:
        ValueError: A stride is not positive or larger than the window, which would
            leave pixels that no window sees.
    """
    for side, step in zip(crop, stride, strict=True):
        if not 0 < step <= side:
            raise ValueError(f'stride {stride} has to be in 1..crop_size {crop}')
    (height, width), (crop_h, crop_w) = size, crop
    return [
        Window(top, min(top + crop_h, height), left, min(left + crop_w, width))
        for top in _starts(height, crop_h, stride[0])
        for left in _starts(width, crop_w, stride[1])
    ]


def split_windows(image: Tensor, windows: Sequence[Window]) -> list[Tensor]:
    """Views (C, h, w) of an image (C, H, W), one for each window."""
    return [image[:, w.top : w.bottom, w.left : w.right] for w in windows]


def coverage(windows: Sequence[Window], canvas: Tensor) -> Tensor:
    """How many windows see each pixel: (H, W) of the dtype of canvas (..., H, W)."""
    count = canvas.new_zeros(canvas.shape[-2:])
    for w in windows:
        count[w.top : w.bottom, w.left : w.right] += 1
    return count


def merge_windows(
    maps: Sequence[Tensor], windows: Sequence[Window], size: tuple[int, int]
) -> Tensor:
    """Average overlapping windows; the inverse of :func:`split_windows`.

    Args:
        maps: Maps (C, h, w) at the size of their windows.
        windows: Their places.
        size: Height and width of the canvas.

    Returns:
        (C, H, W). Accumulated in place: one canvas, no padded copies.
    """
    if len(windows) == 1:
        return maps[0]
    canvas = maps[0].new_zeros(maps[0].shape[0], *size)
    for window_map, w in zip(maps, windows, strict=True):
        canvas[:, w.top : w.bottom, w.left : w.right] += window_map
    return canvas.div_(coverage(windows, canvas))
