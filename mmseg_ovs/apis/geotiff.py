"""GeoTIFF files, read tile by tile by rasterio, which is optional."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from mmseg_ovs.utils import MAX_PIXELS, MissingLibraryError, load_extra
from mmseg_ovs.visualization.sheet import LARGEST_PANEL

from .image_sources import ImageError
from .tiles import Box, Tile, tiles

TIFF_SUFFIXES = ('.tif', '.tiff')
# GeoTIFF's tags of where an image lies.
_MAP_TAGS = (33550, 33922, 34264, 34735)
# Of values that are stretched to 8 bits, these percentiles become 0 and 255.
_PERCENTILES = (2, 98)
# With given limits: a picture with more values at its ends shows nothing.
_MOST_OUTSIDE = 0.99
_SAMPLE_SIDE = 1024  # pixels that they are estimated from, a side


class GeoTiffError(ImageError):
    """A GeoTIFF that cannot be read as asked."""


@dataclass(frozen=True)
class Reading:
    """How GeoTIFFs are read.

    Attributes:
        bands: Numbers from 1 of red, green and blue, or of one grey band. None: what
            the file names so, else the first three of up to four.
        limits: The values that become 0 and 255. None: 8 bits as they are, the 2nd and
            98th percentile of others.
        tile: Side of tiles in pixels.
    """

    bands: tuple[int, ...] | None = None
    limits: tuple[float, float] | None = None
    tile: int = 1024

    def __post_init__(self) -> None:
        if self.bands is not None and len(self.bands) not in (1, 3):
            raise GeoTiffError(
                f'{len(self.bands)} bands were given: give the numbers of red, green '
                'and blue, or of one grey band'
            )
        if self.limits is not None and not (
            self.limits[0] < self.limits[1] and all(map(math.isfinite, self.limits))
        ):
            raise GeoTiffError(f'The limits {self.limits} have to be a low and a high')

    @property
    def margin(self) -> int:
        """What is cut off from each side of a tile that has a neighbour there."""
        return self.tile // 8


def is_geotiff(path: str | os.PathLike) -> bool:
    """Whether a file is to be read here rather than as a photo.

    That are TIFF files with a place on the map, and those that are too large for memory
    or have other bands or numbers than photos. Without rasterio none is, and a warning
    names those that will lose their place.
    """
    path = os.fspath(path)
    if Path(path).suffix.lower() not in TIFF_SUFFIXES or '://' in path:
        return False
    try:
        file = open_tiff(path)
    except GeoTiffError:  # the reader of photos will tell why
        return False
    except MissingLibraryError as error:
        if _has_map(path):
            print_log(
                f'{path} has a place on the map, which its results will not have. '
                f'{error}',
                logger='current',
                level=logging.WARNING,
            )
        return False
    with file:
        is_photo = (
            file.width * file.height <= MAX_PIXELS
            and file.count in (1, 3, 4)
            and set(file.dtypes) <= {'uint8', 'uint16'}
        )
        has_map = file.crs or file.gcps[0] or not file.transform.is_identity
        return bool(has_map) or not is_photo


def _has_map(path: str) -> bool:
    try:
        with warnings.catch_warnings(), Image.open(path, formats=['TIFF']) as image:
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            return any(tag in image.tag_v2 for tag in _MAP_TAGS)
    except Exception:  # no TIFF, or damaged
        return False


class GeoTiff:
    """A GeoTIFF file, as RGB images of its parts; a context.

    Args:
        path: The file.
        reading: How it is read.

    Attributes:
        height, width: In pixels.
        bands: Numbers of those that are read.
        limits: The values that become 0 and 255.

    Raises:
        MissingLibraryError: rasterio is not installed.
        GeoTiffError: It cannot be read, or its bands have to be named.
    """

    def __init__(self, path: str | os.PathLike, reading: Reading | None = None) -> None:
        self.path, self.reading = os.fspath(path), reading or Reading()
        self.file = open_tiff(path)
        try:
            self.height, self.width = self.file.height, self.file.width
            self.bands = self.reading.bands or self._default_bands()
            if unknown := [b for b in self.bands if not 1 <= b <= self.file.count]:
                raise GeoTiffError(
                    f'{self.path} has the bands 1 to {self.file.count}, no {unknown[0]}'
                )
            self._colours = self._colour_table()
            self.limits = self._checked_limits() or self._default_limits()
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> GeoTiff:
        return self

    def __exit__(self, *failure: object) -> None:
        self.file.close()

    def tiles(self) -> list[Tile]:
        """The tiles in which it is segmented."""
        return list(
            tiles(self.height, self.width, self.reading.tile, self.reading.margin)
        )

    def describe(self) -> str:
        """One line: size, bands, values and tiles."""
        low, high = self.limits
        kind = self.file.dtypes[self.bands[0] - 1]
        bands = ', '.join(map(str, self.bands))
        return (
            f'{self.path}: {self.width} x {self.height} pixels, bands {bands} of '
            f'{self.file.count}, {kind} {low:g} to {high:g}, {len(self.tiles())} tiles '
            f'of {self.reading.tile}'
        )

    def read(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """A part: uint8 RGB (h, w, 3), and where there are data, bool (h, w)."""
        window = window_of(box)
        with told_by(self.path):
            values = self.file.read(self.bands, window=window)
            there = self.file.dataset_mask(window=window) > 0
        return self._as_rgb(values), there & np.isfinite(values).all(0)

    def preview(self) -> np.ndarray:
        """All of it, reduced: uint8 RGB (h, w, 3)."""
        shape = self.preview_size
        with told_by(self.path):
            values = self.file.read(self.bands, out_shape=(len(self.bands), *shape))
        return self._as_rgb(values)

    @property
    def preview_size(self) -> tuple[int, int]:
        """Height and width of :meth:`preview`."""
        return _reduced((self.height, self.width), LARGEST_PANEL)

    def _as_rgb(self, values: np.ndarray) -> np.ndarray:
        """Values (1 or 3, h, w) as uint8 RGB (h, w, 3)."""
        if self._colours is not None:
            return self._colours[values[0]]
        if values.dtype != np.uint8 or self.limits != (0, 255):
            low, high = self.limits
            scaled = (values.astype(np.float32) - low) * (255 / (high - low))
            values = np.nan_to_num(scaled).clip(0, 255).round().astype(np.uint8)
        bands = np.moveaxis(values, 0, -1)
        return np.ascontiguousarray(np.broadcast_to(bands, (*bands.shape[:2], 3)))

    def _default_bands(self) -> tuple[int, ...]:
        names = [one.name for one in self.file.colorinterp]
        if {'red', 'green', 'blue'} <= set(names):
            return tuple(names.index(name) + 1 for name in ('red', 'green', 'blue'))
        count = self.file.count
        if count in (3, 4):
            return (1, 2, 3)
        if count == 1 or names[1:] == ['alpha']:
            return (1,)
        raise GeoTiffError(
            f'{self.path} has {count} bands and does not say which are red, green and '
            'blue: name them, --bands 4 3 2 for example'
        )

    def _colour_table(self) -> np.ndarray | None:
        """RGB of each value, of a file with a palette."""
        if len(self.bands) > 1 or self.file.dtypes[self.bands[0] - 1] != 'uint8':
            return None
        try:
            table = self.file.colormap(self.bands[0])
        except ValueError:  # it has none
            return None
        return np.array([table.get(i, (0,) * 4)[:3] for i in range(256)], np.uint8)

    def _checked_limits(self) -> tuple[float, float] | None:
        """The limits given, unless nearly every value would be black or white."""
        if self.reading.limits is None:
            return None
        low, high = self.reading.limits
        values = self._sample()
        outside = np.mean((values < low) | (values > high))
        if outside > _MOST_OUTSIDE:
            raise GeoTiffError(
                f'{outside:.1%} of the values in {self.path} lie outside the limits '
                f'{low:g} and {high:g}: it has {values.min():g} to {values.max():g}'
            )
        return low, high

    def _default_limits(self) -> tuple[float, float]:
        kinds = {self.file.dtypes[band - 1] for band in self.bands}
        if kinds == {'uint8'}:
            return (0, 255)
        if any('complex' in kind for kind in kinds):
            raise GeoTiffError(f'{self.path} has complex numbers, which are no colours')
        low, high = np.percentile(self._sample(), _PERCENTILES).tolist()
        return (low, high) if low < high else (low, low + 1)

    def _sample(self) -> np.ndarray:
        """Values of all bands, from pixels all over the file (n,)."""
        shape = _reduced((self.height, self.width), _SAMPLE_SIDE)
        with told_by(self.path):
            sample = self.file.read(
                self.bands, out_shape=(len(self.bands), *shape), masked=True
            )
        values = sample.compressed()
        values = values[np.isfinite(values)]
        if not values.size:
            raise GeoTiffError(
                f'{self.path} has no values: all pixels are without data'
            )
        return values


def _rasterio() -> ModuleType:
    return load_extra('rasterio', 'geotiff', 'GeoTIFF')


def open_tiff(path: str | os.PathLike, mode: str = 'r', **profile: Any) -> Any:
    """Open or create a file, also one without a place on the map."""
    rasterio = _rasterio()
    with warnings.catch_warnings(), told_by(path):
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path, mode, **profile)


@contextmanager
def told_by(path: str | os.PathLike) -> Iterator[None]:
    """Raise a :class:`GeoTiffError` for what rasterio raises."""
    errors = _rasterio().errors
    try:
        yield
    except errors.RasterioError as error:
        raise GeoTiffError(f'{path} cannot be read or written ({error})') from error


def window_of(box: Box) -> Any:
    """A part of an image as rasterio wants it."""
    window = load_extra('rasterio.windows', 'geotiff', 'GeoTIFF').Window
    return window(box.x, box.y, box.width, box.height)


def _reduced(size: Sequence[int], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width
