"""Images in memory, of any library, to the arrays that models are fed with."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageOps

from mmseg_ovs.utils import OpenVocabError

# Pillow's modes of more than 8 bits, which its conversion cuts off at 255.
_DEEP = ('I', 'F', 'I;16', 'I;16L', 'I;16B', 'I;16N')
COLOURS = ('bgr', 'rgb')


class ImageError(OpenVocabError):
    """No such images, or something that is no image."""


def as_bgr(image: object, name: str, color: str | None = None) -> np.ndarray:
    """An image in memory as ``mmcv.imread`` would have read it from a file.

    Args:
        image: ``PIL.Image``; array (H, W, 3), (H, W, 4), whose fourth channel is
            dropped, or grey (H, W) or (H, W, 1); tensor (3, H, W), (1, H, W) or
            (H, W). Numbers are uint8, or floats of 0..1.
        name: What errors call it.
        color: ``'bgr'`` or ``'rgb'``, the order of channels. None: BGR in arrays, as
            OpenCV has it, and RGB in tensors, as torchvision has it.

    Returns:
        uint8 BGR (H, W, 3).

    Raises:
        ImageError: It is something else.
    """
    if color not in (None, *COLOURS):
        raise ImageError(f"color has to be 'bgr' or 'rgb', not {color!r}")
    if isinstance(image, Image.Image):
        return _from_pillow(image, name)
    if isinstance(image, torch.Tensor):
        grey = image.ndim == 2
        if not (grey or image.ndim == 3 and len(image) in (1, 3)):
            raise ImageError(
                f'{name} is a tensor {tuple(image.shape)}; it has to be (3, H, W), '
                '(1, H, W) or (H, W)'
            )
        pixels = image.detach().cpu()
        pixels = pixels.float() if pixels.is_floating_point() else pixels
        pixels = pixels if grey else pixels.movedim(0, -1)
        return _from_array(pixels.numpy(), name, color or 'rgb')
    if isinstance(image, np.ndarray):
        grey = image.ndim == 2
        if not (grey or image.ndim == 3 and image.shape[2] in (1, 3, 4)):
            raise ImageError(
                f'{name} is an array {image.shape}; it has to be (H, W, 3), '
                '(H, W, 4) or grey (H, W)'
            )
        return _from_array(image, name, color or 'bgr')
    raise ImageError(
        f'{name} is {type(image).__name__}; it has to be a path, URL, PIL image, array '
        'or tensor'
    )


def _from_pillow(image: Image.Image, name: str) -> np.ndarray:
    if image.mode in _DEEP:
        raise ImageError(
            f'{name} is a PIL image of more than 8 bits (mode {image.mode}): scale its '
            "values to 0..255 and convert it to 'L'"
        )
    try:
        # Files are turned as their EXIF says, too.
        rgb = np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
    except Exception as error:  # Pillow reads files late
        raise ImageError(f'{name} cannot be read ({error})') from error
    return np.ascontiguousarray(rgb[..., ::-1])


def _from_array(pixels: np.ndarray, name: str, color: str) -> np.ndarray:
    if not pixels.size:
        raise ImageError(f'{name} has no pixels: {pixels.shape}')
    if np.issubdtype(pixels.dtype, np.floating):
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):  # also NaN
            raise ImageError(
                f'{name} has floats of {low:.4g} to {high:.4g}; they have to be 0..1: '
                'divide brightnesses by their maximum, and do not normalise'
            )
        pixels = (pixels * 255).round().astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ImageError(
            f'{name} has numbers of type {pixels.dtype}; they have to be uint8, or '
            'floats of 0..1'
        )
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    pixels = pixels[..., :3]
    return np.ascontiguousarray(pixels if color == 'bgr' else pixels[..., ::-1])
