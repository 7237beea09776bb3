"""Images as they are found on disks: odd, damaged, and lying about themselves."""

import io
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmseg_ovs.utils import image_formats

HEIGHT, WIDTH = 48, 64


@dataclass(frozen=True)
class Case:
    """A file, and what has to come of it.

    Args:
        name: File name.
        content: Its bytes.
        pixels: The image that it is, uint8 RGB; None: it has to be refused.
        tolerance: Largest difference of the average of the image.
    """

    name: str
    content: bytes
    pixels: np.ndarray | None = None
    tolerance: float = 0

    @property
    def good(self) -> bool:
        """Whether it is an image."""
        return self.pixels is not None


def make_image(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth colours, uint8 RGB, different at each corner."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    pixels = np.stack([60 + 140 * x, 40 + 180 * y, 200 - 120 * x * y], axis=-1)
    return pixels.astype(np.uint8)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack('>I', zlib.crc32(kind + content))
    return struct.pack('>I', len(content)) + kind + content + check


def png_of(width: int, height: int, rows: Iterable[bytes] = ()) -> bytes:
    """A grey PNG that says it has this size, with rows as they are given."""
    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    deflate = zlib.compressobj(1)
    packed = [*map(deflate.compress, rows), deflate.flush()]
    chunks = [
        png_chunk(b'IHDR', header),
        png_chunk(b'IDAT', b''.join(packed)),
        png_chunk(b'IEND', b''),
    ]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunks)


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG that says it has this size."""
    content = encode(Image.fromarray(make_image()), 'JPEG')
    place = content.index(b'\xff\xc0') + 5
    size = struct.pack('>HH', height, width)
    return content[:place] + size + content[place + 4 :]


def tiff_of(pixels: np.ndarray) -> bytes:
    """An uncompressed TIFF (H, W, bands), with as many bands as Pillow cannot write."""
    height, width, bands = pixels.shape
    bits, kind = 8 * pixels.itemsize, {'u': 1, 'i': 2, 'f': 3}[pixels.dtype.kind]
    entries = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, bits), (259, 3, 1, 1)),
        *((262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, bands), (278, 3, 1, height)),
        *((279, 4, 1, pixels.nbytes), (339, 3, 1, kind)),
    ]
    directory = b''.join(struct.pack('<HHII', *entry) for entry in entries)
    directory = struct.pack('<H', len(entries)) + directory + bytes(4)
    return (
        struct.pack('<2sHI', b'II', 42, 8 + pixels.nbytes)
        + pixels.tobytes()
        + directory
    )


def cases() -> list[Case]:
    """All of them."""
    pixels = make_image()
    image = Image.fromarray(pixels)
    grey = np.repeat(np.array(image.convert('L'))[..., None], 3, axis=-1)
    palette = image.quantize(16)
    paletted = np.array(palette.convert('RGB'))
    alpha = np.full((HEIGHT, WIDTH), 128, np.uint8)
    deep = np.array(image.convert('L')).astype(np.uint16) * 257
    twelve = pixels.astype(np.uint16) * 16
    hot = twelve.copy()
    hot[5, 5] = 65535
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned right
    jpeg, png = encode(image, 'JPEG', quality=95), encode(image, 'PNG')
    good = [
        Case('plain.png', png, pixels),
        Case('plain.jpg', jpeg, pixels, 2),
        Case('plain.webp', encode(image, 'WEBP', lossless=True), pixels),
        Case('plain.bmp', encode(image, 'BMP'), pixels),
        Case('plain.tif', encode(image, 'TIFF'), pixels),
        Case('progressive.jpg', encode(image, 'JPEG', progressive=True), pixels, 3),
        Case('grey.jpg', encode(image.convert('L'), 'JPEG', quality=95), grey, 2),
        # Inks are turned to colours by another formula than Pillow's.
        Case('cmyk.jpg', encode(image.convert('CMYK'), 'JPEG', quality=95), pixels, 6),
        Case('grey16.png', encode(Image.fromarray(deep), 'PNG'), grey, 1),
        Case('palette.png', encode(palette, 'PNG'), paletted),
        Case('bits.png', encode(Image.fromarray(grey[..., 0] > 99), 'PNG'),
             np.where(grey > 99, 255, 0).astype(np.uint8)),
        Case('alpha.png', encode(Image.fromarray(np.dstack([pixels, alpha])), 'PNG'),
             pixels),
        Case('grey_alpha.png', encode(
            Image.merge('LA', [image.convert('L'), Image.fromarray(alpha)]), 'PNG'),
            grey),
        Case('one_row.png', encode(image.crop((0, 0, WIDTH, 1)), 'PNG'), pixels[:1]),
        Case('one_column.png', encode(image.crop((0, 0, 1, HEIGHT)), 'PNG'),
             pixels[:, :1]),
        Case('one_pixel.png', encode(image.crop((0, 0, 1, 1)), 'PNG'), pixels[:1, :1]),
        Case('jpeg_called.png', jpeg, pixels, 2),
        Case('png_called.jpg', png, pixels),
        Case('turned.jpg', encode(image, 'JPEG', quality=95, exif=turned),
             np.rot90(pixels, -1), 2),
        Case('moving.gif', encode(image.convert('P', palette=Image.Palette.ADAPTIVE),
             'GIF', save_all=True, append_images=[Image.new('P', image.size)]),
             pixels, 8),
        Case('moving.webp', encode(image, 'WEBP', save_all=True, lossless=True,
             append_images=[Image.new('RGB', image.size)]), pixels),
        Case('twelve_bits.png', cv2.imencode('.png', twelve[..., ::-1])[1].tobytes(),
             pixels),
        Case('hot_pixel.png', cv2.imencode('.png', hot[..., ::-1])[1].tobytes(),
             pixels, 1),
        Case('twelve_bits.tif', cv2.imencode('.tif', twelve[..., ::-1])[1].tobytes(),
             pixels),
        Case('twelve_bits.pgm', cv2.imencode('.pgm', deep >> 4)[1].tobytes(), grey, 1),
        Case('pages.tif', encode(image, 'TIFF', save_all=True,
             append_images=[Image.new('RGB', image.size)]), pixels),
        Case('behind_the_end.jpg', jpeg + b'\0' * 100, pixels, 2),
    ]  # fmt: skip
    for kind in {'AVIF', 'HEIF'} & set(image_formats()):
        content = encode(image, kind, quality=95)
        good.append(Case(f'plain.{kind.lower()}', content, pixels, 3))
    if 'AVIF' in image_formats():
        content = encode(image, 'AVIF', quality=95, exif=turned)
        good.append(Case('turned.avif', content, np.rot90(pixels, -1), 3))
    bad = [
        Case('empty.jpg', b''),
        Case('text.jpg', b'this is no image\n' * 10),
        Case('zeros.png', bytes(1000)),
        Case('page.jpg', b'<html><body>404 not found</body></html>'),
        *(
            Case(f'cut_at_{tenths}.jpg', jpeg[: len(jpeg) * tenths // 10])
            for tenths in (1, 3, 5, 9)
        ),
        Case('cut_at_the_end.jpg', jpeg[:-2]),
        *(Case(f'cut_at_{n}.png', png[: len(png) * n // 10]) for n in (1, 5, 9)),
        Case('huge.png', png_of(60_000, 60_000)),
        Case('huge.jpg', jpeg_of(65_500, 65_500)),
        Case('large.png', png_of(30_000, 30_000)),
        Case('large.jpg', jpeg_of(20_000, 20_000)),
        # A whole image, 1 MB, whose decoding would take 0.6 GB.
        Case('bomb.png', png_of(14_000, 14_000, repeat(bytes(14_001), 14_000))),
        Case('float.tif', tiff_of(np.ones((8, 8, 1), np.float32))),
        Case('signed.tif', tiff_of(np.ones((8, 8, 1), np.int16))),
        Case('bands.tif', tiff_of(np.ones((8, 8, 6), np.uint8))),
        Case('deep.tif', tiff_of(np.ones((8, 8, 1), np.uint32))),
        Case('photo.heic', b'\0\0\0\x18ftypheic' + bytes(100)),
        Case('broken_rows.png', png_of(64, 48, [b'\5' * 100])),
    ]
    return good + bad


def write_all(folder: Path) -> list[Case]:
    """Write the files; what they are."""
    for case in (found := cases()):
        (folder / case.name).write_bytes(case.content)
    return found
