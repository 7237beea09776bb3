"""Files of images as OpenCV, which mmseg reads images with, can read them.

What would blow up when it is decoded is refused by its header. What OpenCV reads
wrongly (12 bits in a 16-bit file) or not everywhere (GIF, AVIF, HEIC) is decoded here.
"""

import functools
import io
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

#: Suffixes, in small letters, of files that folders are searched for.
IMAGE_SUFFIXES = frozenset(
    (
        *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.tif', '.tiff', '.webp'),
        *('.ppm', '.pgm', '.pnm', '.gif', '.avif', '.heic', '.heif'),
    )
)
#: The number from which on Pillow raises by default: 0.5 GB decoded.
MAX_PIXELS = 2 * 89_478_485
_LARGE_FILE = 2**28  # bytes from which on it pays to look at the header alone
# Others are left to OpenCV: some of Pillow's readers run programs.
_FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'TIFF', 'PPM', 'GIF', 'AVIF', 'HEIF')
_DECODED_BY_PILLOW = ('GIF', 'AVIF', 'HEIF')
_WITH_FRAMES = ('GIF', 'PNG', 'WEBP', 'TIFF', 'AVIF', 'HEIF')
_TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # the last two with 64-bit places
_SIDES = (256, 257)  # tags of TIFF
_BITS, _BANDS, _EXTRA_BANDS, _NUMBERS = 258, 277, 338, 339  # tags of TIFF


# What reads TIFF files of all kinds.
_IN_TILES = (
    'Or let python -m mmseg_ovs.predict read it, after: pip install '
    "'mmseg_ovs[geotiff]'"
)


class RefusedImageError(ValueError):
    """An image that is empty, too large or of a kind that cannot be read."""


@functools.cache
def image_formats() -> tuple[str, ...]:
    """Formats, by Pillow's names, that are read here; HEIF if pillow-heif is there."""
    Image.init()
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def check_header(path: str) -> None:
    """Refuse a large file by its header, before it is read into memory.

    Smaller files, and what is no file of this machine, are left to
    :func:`checked_image`.

    Raises:
        RefusedImageError: It would be refused.
    """
    if not os.path.isfile(path) or os.path.getsize(path) < _LARGE_FILE:
        return
    with open(path, 'rb') as stream:
        try:
            with (
                _refusing(start := stream.read(8)),
                Image.open(path, formats=image_formats()) as image,
            ):
                _check_size(image, start)
        except UnidentifiedImageError:
            _check_tiff_directory(stream)


def checked_image(content: bytes, name: str) -> bytes:
    """The bytes of an image that OpenCV decodes to 8 bits.

    OpenCV decodes up to 2**30 pixels, 3 GB, whatever the size of the file. Truncated
    files need no check: it refuses them itself.

    Args:
        content: The bytes of the file.
        name: What warnings call it.

    Returns:
        ``content``, or a BMP file: of the first frame of GIF, AVIF and HEIC, and of
        16-bit files with fewer bits in use (8, 10, 12 or 14 hold 99.9 % of the
        values), whose values are clipped to those and shifted to 8 bits.

    Raises:
        RefusedImageError: It is empty, has more than ``MAX_PIXELS``, holds numbers
            other than whole ones up to 16 bits, or has a number of bands other than
            1 to 4.
    """
    if not content:
        raise RefusedImageError('the file is empty')
    try:
        with (
            _refusing(content[:8]),
            Image.open(io.BytesIO(content), formats=image_formats()) as image,
        ):
            return _checked(content, name, image)
    except UnidentifiedImageError:
        _check_unidentified(content)
        return content


@contextmanager
def _refusing(start: bytes) -> Iterator[None]:
    """Turn what Pillow says of a file's header into a :class:`RefusedImageError`.

    Args:
        start: The first bytes of the file.
    """
    try:
        yield
    except (RefusedImageError, UnidentifiedImageError):
        raise
    except Image.DecompressionBombError as error:  # the size is in its message alone
        pixels = re.search(r'\d+', str(error))[0]
        raise RefusedImageError(_too_large(f'{pixels} pixels', start)) from error
    except Exception as error:  # what readers make of damaged headers
        raise RefusedImageError(f'its header is damaged ({error})') from error


def _check_size(image: Image.Image, start: bytes) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise RefusedImageError(_too_large(f'{width} x {height} pixels', start))


def _checked(content: bytes, name: str, image: Image.Image) -> bytes:
    _check_size(image, content[:8])
    if image.format in _WITH_FRAMES and (frames := getattr(image, 'n_frames', 1)) > 1:
        _warn(f'{name} has {frames} frames: only the first is read')
    if image.format in _DECODED_BY_PILLOW:
        pixels = ImageOps.exif_transpose(image).convert('RGB')
        return _as_bmp(np.asarray(pixels)[..., ::-1])
    if image.format == 'TIFF':
        _check_tiff(image.tag_v2, name)
        is_deep = max(image.tag_v2.get(_BITS, (1,))) > 8
    else:
        is_deep = image.format == 'PPM' or image.format == 'PNG' and content[24] > 8
    return _in_eight_bits(content, name) if is_deep else content


def _too_large(size: str, start: bytes) -> str:
    more = f'. {_IN_TILES}' if start[:4] in _TIFF else ''
    return (
        f'it is too large ({size}, up to {MAX_PIXELS} are read): make it smaller, or '
        f'cut it into parts{more}'
    )


def _check_tiff(tags: Mapping[int, Any], name: str) -> None:
    bits, numbers = max(tags.get(_BITS, (1,))), tags.get(_NUMBERS, (1,))
    if bits > 16 or any(kind not in (1, 4) for kind in numbers):
        kind = {2: 'signed', 3: 'floating-point'}.get(numbers[0], 'unsigned')
        raise RefusedImageError(
            f'it is a TIFF of {kind} {bits}-bit numbers: convert it to unsigned '
            f'numbers of 8 or 16 bits. {_IN_TILES}'
        )
    bands = tags.get(_BANDS, 1)
    if bands > 4:
        raise RefusedImageError(
            f'it is a TIFF of {bands} bands: write the three that are red, green and '
            f'blue to a file. {_IN_TILES}'
        )
    if bands == 4 and tags.get(_EXTRA_BANDS, (0,))[0] == 0:
        _warn(f'{name} has 4 bands: the first three are read, as red, green and blue')


def _check_unidentified(content: bytes) -> None:
    """Refuse what OpenCV would only call unreadable."""
    brand = content[8:12] if content[4:8] == b'ftyp' else b''
    if brand in (b'heic', b'heix', b'hevc', b'mif1', b'msf1'):
        if 'HEIF' in image_formats():
            raise RefusedImageError('it is HEIC, and damaged')
        raise RefusedImageError(
            "it is HEIC, which needs: pip install 'mmseg_ovs[heic]'"
        )
    if brand in (b'avif', b'avis') and 'AVIF' not in image_formats():
        raise RefusedImageError("it is AVIF, which needs: pip install 'pillow>=11.3'")
    _check_tiff_directory(io.BytesIO(content))


def _check_tiff_directory(stream: BinaryIO) -> None:
    """Refuse TIFF files of kinds that Pillow does not know."""
    stream.seek(0)
    head = stream.read(16)
    if head[:4] not in _TIFF:
        return
    try:
        directory = ImageFileDirectory_v2(head if b'+' in head[:4] else head[:8])
        stream.seek(directory.next)
        directory.load(stream)
    except Exception:  # damaged: OpenCV refuses it
        return
    width, height = (directory.get(tag, 0) for tag in _SIDES)
    if width * height > MAX_PIXELS:
        raise RefusedImageError(_too_large(f'{width} x {height} pixels', head))
    _check_tiff(directory, '')


def _in_eight_bits(content: bytes, name: str) -> bytes:
    """Shift by the bits in use; OpenCV shifts by 8, whatever they are."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if pixels is None or pixels.dtype != np.uint16:
        return content
    few = pixels.size // 1000  # defect pixels are often 65535
    for bits in (8, 10, 12, 14):
        if np.count_nonzero(pixels >= 1 << bits) <= few:
            break
    else:
        return content
    _warn(
        f'{name} has 16 bits, and 99.9 % of its values are below {1 << bits}: it is '
        f'read as an image of {bits} bits. For one brightness in all images convert '
        'them to 8 bits'
    )
    clipped = np.minimum(pixels, (1 << bits) - 1)
    return _as_bmp((clipped >> (bits - 8)).astype(np.uint8))


def _as_bmp(bgr: np.ndarray) -> bytes:
    return cv2.imencode('.bmp', np.ascontiguousarray(bgr))[1].tobytes()


@functools.lru_cache(1000)
def _warn(message: str) -> None:
    """Once a message: training reads an image many times."""
    print_log(message, logger='current', level=logging.WARNING)
