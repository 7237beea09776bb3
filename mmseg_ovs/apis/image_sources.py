"""Which images are meant: files, folders, patterns and arrays to one list."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch
from mmengine.logging import print_log
from PIL import Image

from mmseg_ovs.utils import IMAGE_SUFFIXES, some_of, unique_name

from .pixels import ImageError, as_bgr

VIDEO_SUFFIXES = frozenset(
    ('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.wmv', '.flv')
)
# Subfolders of the folders that prediction writes.
RESULTS = ('vis', 'overlay', 'pred', 'scores', 'yolo')
_RESULTS_OF_BEFORE = 'as results of an earlier run'


@dataclass(frozen=True)
class ImageSource:
    """One image.

    Attributes:
        name: What messages and results call it.
        content: Its path, or its pixels uint8 BGR (H, W, 3).
        frame: Its number in the video called ``name``, from 0 on; None: no video.
    """

    name: str
    content: str | np.ndarray
    frame: int | None = None

    @property
    def location(self) -> str:
        """Its path, absolute and without links to folders, if it is a file."""
        if not isinstance(self.content, str) or '://' in self.content:
            return self.name
        folder, file = os.path.split(self.content)
        return os.path.join(os.path.realpath(folder), file)


def is_video(name: str | os.PathLike) -> bool:
    """Whether a file is a video, by its extension."""
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def list_images(images: object, color: str | None = None) -> list[ImageSource]:
    """List images in the order given; those of a folder or pattern by name.

    Args:
        images: Path or URL of a file, path of a folder (its images, without
            subfolders and hidden files), pattern (see :func:`list_files`), image in
            memory (see :func:`as_bgr`), batch of tensors (B, 3, H, W), or a list of
            those.
        color: Order of channels, see :func:`as_bgr`.

    Raises:
        ImageError: A path does not exist, is a video, a folder or pattern holds no
            images, an array has another form, or nothing is given. Whether files can
            be read shows later.
    """
    items = _as_list(images)
    paths = [item for item in items if isinstance(item, str | os.PathLike)]
    files = iter(_files_of_each(paths, IMAGE_SUFFIXES))
    sources: list[ImageSource] = []
    for position, item in enumerate(items):
        if isinstance(item, ImageSource):
            sources.append(item)
        elif isinstance(item, str | os.PathLike):
            sources.extend(ImageSource(file, file) for file in next(files))
        else:
            sources.append(_source_in_memory(item, position, color))
    for source in sources:
        if isinstance(source.content, str) and is_video(source.content):
            raise ImageError(
                f'{source.name} is a video: use predict() on '
                'mmseg_ovs.apis.Video, or python -m mmseg_ovs.predict'
            )
    if not sources:
        raise ImageError('No images were given')
    return sources


def is_one_image(images: object) -> bool:
    """Whether a call means a single image: no list, batch, folder or pattern."""
    if isinstance(images, str | os.PathLike):
        path = os.fspath(images)
        is_file = '://' in path or os.path.isfile(path)
        return is_file or not (os.path.isdir(path) or glob.has_magic(path))
    items = _as_list(images)
    return len(items) == 1 and items[0] is images


def stream_images(images: object, color: str | None = None) -> Iterable[ImageSource]:
    """As :func:`list_images`, but iterators are read as they are consumed."""
    is_stream = isinstance(images, Iterable) and not isinstance(
        images, Sequence | np.ndarray | torch.Tensor | Image.Image | os.PathLike
    )
    if not is_stream:
        return list_images(images, color)
    return (source for item in images for source in list_images(item, color))


def list_files(
    paths: Iterable[str | os.PathLike], suffixes: Iterable[str] = IMAGE_SUFFIXES
) -> list[str]:
    """The files that paths mean.

    Args:
        paths: Files and URLs, of any extension; folders, whose files are taken without
            subfolders and hidden ones; patterns such as ``'photos/*.jpg'``, where
            ``**`` goes through all subfolders.
        suffixes: Extensions taken from folders and patterns. What else is there is
            named in a warning. Results of ``python -m mmseg_ovs.predict`` are left out.

    Raises:
        ImageError: A file or folder does not exist, a folder or pattern has no such
            file, or all files are results.
    """
    return [file for files in _files_of_each(paths, suffixes) for file in files]


def output_names(
    sources: Sequence[ImageSource], known: Mapping[str, str] | None = None
) -> list[str]:
    """File names without extension, all different: ``a``, ``b``, second ``a_2``.

    Args:
        sources: What is to be named.
        known: Names that are given already, and the ``location`` of each. A file among
            them keeps its name.
    """
    own: dict[str, list[str]] = {}
    for name, location in (known or {}).items():
        own.setdefault(location, []).append(name)
    taken = {name.casefold() for name in known or ()}
    names = []
    for source in sources:
        if not isinstance(source.content, np.ndarray) and own.get(source.location):
            names.append(own[source.location].pop(0))
            continue
        is_address = '://' in source.name
        path = urlsplit(source.name).path if is_address else source.name
        stem = Path(path).stem.replace(' ', '_') or 'image'
        names.append(unique_name(stem, taken))
    return names


def _as_list(images: object) -> Sequence[object]:
    if isinstance(images, torch.Tensor) and images.ndim == 4:
        return list(images)
    is_list = isinstance(images, Sequence) and not isinstance(images, str)
    return images if is_list else [images]


def _source_in_memory(image: object, position: int, color: str | None) -> ImageSource:
    pixels = as_bgr(image, f'Image {position}', color)
    # Of an image that Pillow has opened from a file.
    name = getattr(image, 'filename', '') if isinstance(image, Image.Image) else ''
    return ImageSource(name or f'array {position}', pixels)


def _files_of_each(
    paths: Iterable[str | os.PathLike], suffixes: Iterable[str]
) -> list[list[str]]:
    """The files of each path; all that do not exist are named together."""
    found, missing, explicit = [], [], []
    for path in map(os.fspath, paths):
        if os.path.isdir(path):
            found.append(_folder_files(Path(path), suffixes))
        elif '://' in path:
            found.append([path])
        elif os.path.isfile(path):
            explicit.append(Path(path))
            found.append([] if _is_result(explicit[-1]) else [path])
        elif glob.has_magic(path):
            found.append(_matching_files(path, suffixes))
        else:
            missing.append(path)
    if missing:
        raise ImageError(f'No such file or folder: {", ".join(missing)}')
    results = sum(map(_is_result, explicit))
    if results and not any(found):
        raise ImageError('All files are results of an earlier run')
    _warn_of_left_out('The files given', results, _RESULTS_OF_BEFORE)
    return found


def _folder_files(folder: Path, suffixes: Iterable[str]) -> list[str]:
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith('.'))
    folders = [path.name for path in entries if path.is_dir()]
    hint = f"subfolders ({some_of(folders)}) are included by '{folder}/**/*'"
    files = [path for path in entries if not path.is_dir()]  # also broken links
    files = _of_suffix(f'The folder {folder}', files, suffixes, hint if folders else '')
    if folders and not (folder / 'legend.json').is_file():
        print_log(f'{folder}: {hint}', logger='current', level=logging.WARNING)
    return files


def _matching_files(pattern: str, suffixes: Iterable[str]) -> list[str]:
    found = sorted(map(Path, glob.iglob(pattern, recursive=True)))
    return _of_suffix(
        f'The pattern {pattern}', [p for p in found if not p.is_dir()], suffixes
    )


def _of_suffix(
    where: str, paths: Sequence[Path], suffixes: Iterable[str], hint: str = ''
) -> list[str]:
    """Those with one of the suffixes, in small letters; names the others.

    Raises:
        ImageError: There are none.
    """
    own = [path for path in paths if not _is_result(path)]
    files = [str(path) for path in own if path.suffix.lower() in suffixes]
    others = [path.name for path in own if path.suffix.lower() not in suffixes]
    if not files:
        there = f'it has {some_of(others)}; ' if others else ''
        if len(own) < len(paths):
            there = 'it has results of an earlier run; '
        raise ImageError(
            f'{where} has no images: {there}taken are {", ".join(sorted(suffixes))}'
            f'{hint and f"; {hint}"}'
        )
    _warn_of_left_out(where, len(others), f'of other types: {some_of(others)}')
    _warn_of_left_out(where, len(paths) - len(own), _RESULTS_OF_BEFORE)
    return files


def _warn_of_left_out(where: str, count: int, what: str) -> None:
    if count:
        print_log(
            f'{where}: left out {count} file{"s" * (count > 1)} {what}',
            logger='current',
            level=logging.WARNING,
        )


def _is_result(path: Path) -> bool:
    """Whether a file is in a folder that ``ResultFolder`` has written."""
    # Without resolving, the parents of a relative path end at the working folder.
    folder = Path(os.path.realpath(path.parent))
    return path.name in ('legend.json', 'coco.json', 'coco_polygons.json') or any(
        folder.name in RESULTS and (folder.parent / 'legend.json').is_file()
        for folder in (folder, *folder.parents)
    )
