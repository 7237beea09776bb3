"""Images as training reads them."""

from __future__ import annotations

from pathlib import Path

import cv2
import mmcv
import numpy as np

from mmseg_ovs.utils import RefusedImageError, checked_image

from .errors import UnreadableImageError


def read_image(folder: Path, file_name: str) -> np.ndarray:
    """Read an image with the decoder of mmseg's ``LoadImageFromFile``.

    Masks are drawn on what training will see: turned as EXIF says, and so on.

    Args:
        folder: Folder of the images.
        file_name: Path in it.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UnreadableImageError: There is no such file, or it is no image.
    """
    try:
        content = (folder / file_name).read_bytes()
    except OSError as error:
        raise UnreadableImageError(f'cannot be opened: {error.strerror}') from error
    try:
        content = checked_image(content, file_name)
        image = mmcv.imfrombytes(content, channel_order='rgb', backend='cv2')
    except RefusedImageError as error:
        raise UnreadableImageError(f'is no image, or a damaged one: {error}') from error
    except cv2.error:
        image = None
    if image is None:
        raise UnreadableImageError('is no image, or a damaged one')
    return image
