"""Label maps as PNG files: 8 bits a pixel where the classes fit in, else 16."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def encode_labels(labels: np.ndarray, num_classes: int) -> bytes:
    """Labels (H, W) as a grey PNG.

    255 is kept free for "ignore" in 8 bits and 65535 in 16, so more than 255 classes
    need 16.

    Raises:
        ValueError: A label does not fit into the file.
    """
    dtype = np.uint8 if num_classes <= 255 else np.uint16
    small = labels.astype(dtype)
    if not np.array_equal(small, labels):
        raise ValueError(
            f'labels {labels.min()}..{labels.max()} do not fit into {dtype.__name__}'
        )
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, 'PNG')
    return buffer.getvalue()


def count_labels(
    content: bytes, num_classes: int, ignore_index: int, size: tuple[int, int]
) -> np.ndarray:
    """Read a label file back and check it.

    Args:
        content: The bytes of the file.
        num_classes: Number of classes N.
        ignore_index: Label of unlabelled pixels.
        size: Width and height of the image it belongs to.

    Returns:
        (N + 1,) int64: pixels of each class and, last, of ``ignore_index``.

    Raises:
        ValueError: It cannot be read, is of another size or depth, or has a value that
            is neither a class nor ``ignore_index``.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            labels = np.array(image)
    except Exception as error:  # what decoders make of damaged files
        raise ValueError(f'the label map cannot be read: {error}') from error
    depth = np.uint8 if num_classes <= 255 else np.uint16
    if labels.ndim != 2 or labels.dtype != depth:
        raise ValueError(
            f'the label map is {labels.dtype} of shape {labels.shape}, not one plane '
            f'of {depth.__name__}'
        )
    if labels.shape[::-1] != size:
        raise ValueError(
            f'the label map has {labels.shape[1]} x {labels.shape[0]} pixels, the '
            f'image {size[0]} x {size[1]}'
        )
    pixels = np.bincount(labels.ravel(), minlength=ignore_index + 1)
    counts = np.append(pixels[:num_classes], pixels[ignore_index])
    if counts.sum() != labels.size:
        pixels[:num_classes] = pixels[ignore_index] = 0
        raise ValueError(
            f'the label map has the value {pixels.nonzero()[0][0]}, which is neither '
            f'one of the {num_classes} classes nor {ignore_index}'
        )
    return counts
