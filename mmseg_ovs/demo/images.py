"""Which uploaded images are taken, and how many at a time."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from mmseg_ovs.apis import ImageError, ImageSource
from mmseg_ovs.utils import image_formats


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Attributes:
        megabytes: Largest upload in MB (2**20 bytes, as Gradio counts).
        megapixels: Largest image.
        frames: Most frames of a video.
        requests: Images that are segmented at a time; each takes memory of its own.
    """

    megabytes: float = 20
    megapixels: float = 25
    frames: int = 500
    requests: int = 1

    @property
    def file_bytes(self) -> int:
        """The size of a file in bytes."""
        return int(self.megabytes * 2**20)


def check_image(source: ImageSource, limits: Limits) -> int:
    """Refuse what is too large, before it is decoded, or is not a whole image.

    OpenCV, which reads images for the models, fills the missing part of a truncated
    JPEG with grey and says nothing; Pillow tells.

    Returns:
        The number of pixels.

    Raises:
        ImageError: With a message for the person who uploaded it.
    """
    name, path = source.name, source.content
    if os.path.getsize(path) > limits.file_bytes:
        raise ImageError(f'{name} has more than {limits.megabytes:g} MB.')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            image = Image.open(path, formats=image_formats())
    except UnidentifiedImageError as error:
        raise ImageError(
            f'{name} is not an image that can be read ({", ".join(image_formats())}).'
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(name, 'far', limits)) from error
    except Exception as error:  # what decoders make of damaged headers
        raise ImageError(f'{name} is damaged ({error}).') from error
    with image:
        width, height = image.size
        if width * height > limits.megapixels * 1e6:
            raise ImageError(_too_large(name, f'{width} x {height} pixels,', limits))
        try:
            image.load()
        except Exception as error:
            raise ImageError(
                f'{name} is damaged or only a part of a file ({error}).'
            ) from error
    return width * height


def _too_large(name: str, size: str, limits: Limits) -> str:
    return (
        f'{name} has {size} more than the {limits.megapixels:g} megapixels that this '
        'page takes: make it smaller.'
    )
