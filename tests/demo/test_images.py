"""Which uploads are taken."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mmseg_ovs.apis import ImageError, ImageSource
from mmseg_ovs.demo.images import Limits, check_image

LIMITS = Limits(megabytes=0.1, megapixels=0.1)


def check(path, limits=LIMITS):
    check_image(ImageSource('mine.png', str(path)), limits)


def noise(height=40, width=50):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'webp', 'bmp', 'tif', 'ppm', 'gif'])
@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_images_are_taken(tmp_path, suffix, mode):
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(noise()).convert(mode).save(path)
    check(path)


def test_palette_alpha_and_16_bits_are_taken(tmp_path):
    image = Image.fromarray(noise())
    image.quantize(16).save(tmp_path / 'a.png')
    image.convert('RGBA').save(tmp_path / 'b.png')
    Image.fromarray(noise()[..., 0].astype(np.uint16) * 257).save(tmp_path / 'c.png')
    for name in 'abc':
        check(tmp_path / f'{name}.png')


def png_header(width: int, height: int) -> bytes:
    """A PNG that says its size and has no pixels."""
    chunk = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    size, checksum = struct.pack('>I', 13), struct.pack('>I', zlib.crc32(chunk))
    pixels = struct.pack('>I', 1000) + b'IDAT'
    return b'\x89PNG\r\n\x1a\n' + size + chunk + checksum + pixels


@pytest.mark.parametrize('side', [400, 10_000, 14_000, 60_000])
def test_the_size_is_read_from_the_header(tmp_path, side):
    path = tmp_path / 'a.png'
    path.write_bytes(png_header(side, side))
    with pytest.raises(ImageError, match='mine.png has .* more than the 0.1 megapixel'):
        check(path)


def test_a_large_file_is_not_even_opened(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(bytes(LIMITS.file_bytes + 1))
    with pytest.raises(ImageError, match='mine.png has more than 0.1 MB'):
        check(path)
    path.write_bytes(bytes(LIMITS.file_bytes))
    with pytest.raises(ImageError, match='not an image'):
        check(path)


@pytest.mark.parametrize(
    'content', [b'', b'hello', b'%!PS-Adobe-3.0 EPSF-3.0\n', b'GIF89a']
)
def test_what_is_no_image(tmp_path, content):
    path = tmp_path / 'a.png'
    path.write_bytes(content)
    with pytest.raises(ImageError, match='mine.png is not an image that can be read'):
        check(path)


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'webp', 'bmp', 'tif'])
@pytest.mark.parametrize('share', [0.5, 0.9])
def test_truncated_files(tmp_path, suffix, share):
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(noise()).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ImageError, match='mine.png is (damaged|not an image)'):
        check(path)
