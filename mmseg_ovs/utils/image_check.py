"""Files that would blow up when they are decoded, refused by their header."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

#: The number from which on Pillow raises by default: 0.5 GB decoded.
MAX_PIXELS = 2 * 89_478_485
# Others are left to OpenCV: some of Pillow's readers run programs.
_FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF', 'PPM')


class RefusedImageError(ValueError):
    """A file that is empty, or an image that is too large."""


def check_image(content: bytes) -> None:
    """Refuse what OpenCV, which mmseg reads images with, would choke on.

    OpenCV decodes up to 2**30 pixels, 3 GB, whatever the size of the file. Truncated
    files need no check: it refuses them itself.

    Args:
        content: The bytes of the file.

    Raises:
        RefusedImageError: It is empty, or has more than ``MAX_PIXELS``.
    """
    if not content:
        raise RefusedImageError('the file is empty')
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise RefusedImageError(f'it is too large ({error})') from error
    except UnidentifiedImageError:
        return
    except Exception as error:  # what readers make of damaged headers
        raise RefusedImageError(f'its header is damaged ({error})') from error
    if width * height > MAX_PIXELS:
        raise RefusedImageError(
            f'it is too large ({width} x {height}, {MAX_PIXELS} pixels are read)'
        )
