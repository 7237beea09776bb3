"""Which pictures are meant: files, folders and arrays to one list."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

IMAGE_SUFFIXES = frozenset(
    ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')
)


class ImageError(ValueError):
    """No such pictures, or something that is no picture."""


@dataclass(frozen=True)
class ImageSource:
    """One picture: what messages call it, and its path or its BGR pixels (H, W, 3)."""

    name: str
    content: str | np.ndarray


def list_images(images: object) -> list[ImageSource]:
    """List pictures in the order given; those of a folder by name.

    Args:
        images: Path or URL of a file, path of a folder (its pictures, without
            subfolders and hidden files), array uint8 BGR (H, W, 3) as
            ``mmcv.imread`` gives it, or a list of those.

    Raises:
        ImageError: A path does not exist, a folder holds no pictures, an array has
            another form, or nothing is given. Whether files can be read shows later.
    """
    is_list = isinstance(images, Sequence) and not isinstance(images, str)
    sources: list[ImageSource] = []
    missing = []
    for position, item in enumerate(images if is_list else [images]):
        if isinstance(item, ImageSource):
            sources.append(item)
        elif isinstance(item, np.ndarray):
            sources.append(_array_source(item, position))
        elif not isinstance(item, str | os.PathLike):
            raise ImageError(
                f'Image {position} has to be a path or an array uint8 BGR (H, W, 3), '
                f'not {type(item).__name__}'
            )
        elif os.path.isdir(item):
            sources.extend(_folder_sources(Path(item)))
        elif '://' in str(item) or os.path.isfile(item):
            sources.append(ImageSource(str(item), str(item)))
        else:
            missing.append(str(item))
    if missing:
        raise ImageError(f'No such file or folder: {", ".join(missing)}')
    if not sources:
        raise ImageError('No images were given')
    return sources


def output_names(sources: Sequence[ImageSource]) -> list[str]:
    """File names without extension, all different: ``a``, ``b``, second ``a_2``."""
    taken: set[str] = set()
    names = []
    for source in sources:
        stem = name = Path(source.name).stem.replace(' ', '_')
        count = 1
        while name.casefold() in taken:
            count += 1
            name = f'{stem}_{count}'
        taken.add(name.casefold())
        names.append(name)
    return names


def _array_source(array: np.ndarray, position: int) -> ImageSource:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(
            f'Image {position} is an array of {array.dtype} {array.shape}; it has to '
            'be uint8 BGR (H, W, 3), as mmcv.imread gives it'
        )
    if not array.size:
        raise ImageError(f'Image {position} has no pixels: {array.shape}')
    return ImageSource(f'array {position}', array)


def _folder_sources(folder: Path) -> list[ImageSource]:
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith('.')
        and path.is_file()
    )
    if not paths:
        raise ImageError(
            f'The folder {folder} has no images ({", ".join(sorted(IMAGE_SUFFIXES))}; '
            'subfolders are not searched)'
        )
    return [ImageSource(str(path), str(path)) for path in paths]
