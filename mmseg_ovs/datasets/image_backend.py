"""Files of images, checked before they are decoded."""

from __future__ import annotations

import os

from mmengine import fileio
from mmengine.fileio import BaseStorageBackend, register_backend

from mmseg_ovs.utils import (
    RefusedImageError,
    check_header,
    checked_image,
    download_image,
    is_web_address,
)


def read_checked_images(step: dict) -> bool:
    """Let the config of an image loader use :class:`CheckedImagesBackend`.

    Args:
        step: Of a ``LoadImageFromFile``, changed in place. One that names a file
            backend, another decoder than OpenCV or the values as stored
            (``color_type='unchanged'``) stays as it is.

    Returns:
        Whether it was changed.
    """
    if (
        step.get('backend_args')
        or step.get('imdecode_backend', 'cv2') != 'cv2'
        or not step.get('color_type', 'color').startswith('color')
    ):
        return False
    step['backend_args'] = dict(backend='checked_images')
    return True


@register_backend('checked_images')
class CheckedImagesBackend(BaseStorageBackend):
    """Reads files from wherever their path points to, see :func:`checked_image`.

    For mmseg's loader, in any pipeline::

        dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images'))
    """

    def get(self, filepath: str | os.PathLike) -> bytes:
        """The bytes of an image that OpenCV decodes to 8 bits.

        Raises:
            RefusedImageError: See :func:`checked_image`; names the file.
        """
        name = os.fspath(filepath)
        try:
            if is_web_address(name):
                return checked_image(download_image(name), name)
            check_header(name)
            return checked_image(fileio.get(filepath), name)
        except RefusedImageError as error:
            raise RefusedImageError(f'{name}: {error}') from error

    def get_text(self, filepath: str | os.PathLike, encoding: str = 'utf-8') -> str:
        """Not for images.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError('images are no text')
