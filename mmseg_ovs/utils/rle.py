"""COCO's compressed run-length masks, checked before they are decoded.

``pycocotools`` (2.0.11) hands out uninitialised memory for some broken strings.
"""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask


def encode_mask(mask: np.ndarray) -> str:
    """Mask (H, W), bool or 0/1, as a string of COCO's compressed run lengths."""
    columns = np.asfortranarray(mask, dtype=np.uint8)
    return coco_mask.encode(columns)['counts'].decode('ascii')


def decode_mask(counts: str, size: tuple[int, int]) -> np.ndarray:
    """Inverse of :func:`encode_mask`.

    Args:
        counts: The string.
        size: Height and width of the image in pixels.

    Returns:
        (H, W) uint8 with 0 and 1.

    Raises:
        ValueError: See :func:`check_mask`.
    """
    check_mask(counts, size)
    return coco_mask.decode(dict(size=list(size), counts=counts.encode('ascii')))


def check_mask(counts: str, size: tuple[int, int]) -> None:
    """Refuse what is no mask of an image of ``size``.

    Raises:
        ValueError: The string is broken, or its runs do not fill such an image.
    """
    covered = sum(run_lengths(counts))
    if covered != size[0] * size[1]:
        raise ValueError(
            f'the runs cover {covered} pixels, the image of {size[0]} x {size[1]} '
            f'has {size[0] * size[1]}'
        )


def run_lengths(counts: str) -> list[int]:
    """Lengths of the runs of zeros and ones, in turn, of a column after the other.

    Numbers are written in groups of five bits from the lowest on, as characters from
    '0' on; a sixth bit says that more follow. From the fourth run on they are
    differences to the last run but one.

    Raises:
        ValueError: The string is not of this form.
    """
    if not isinstance(counts, str) or not counts:
        raise ValueError(f'{counts!r} is no compressed run-length string')
    lengths: list[int] = []
    value, shift, more = 0, 0, False
    for place, character in enumerate(counts):
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError(f'character {place} of the run lengths is broken')
        value |= (bits & 31) << shift
        shift += 5
        more = bool(bits & 32)
        if not more:
            if bits & 16:
                value -= 1 << shift
            if len(lengths) > 2:
                value += lengths[-2]
            if value < 0:
                raise ValueError(f'run {len(lengths)} is negative')
            lengths.append(value)
            value, shift = 0, 0
    if more:
        raise ValueError('the run lengths end within a number')
    return lengths
