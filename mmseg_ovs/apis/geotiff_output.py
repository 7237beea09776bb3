"""Labels of GeoTIFFs, written tile by tile at the place of their source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import replacing
from mmseg_ovs.visualization.overlay import draw_overlay
from mmseg_ovs.visualization.sheet import ALPHA, draw_sheet

from .geotiff import GeoTiff, open_tiff, told_by, window_of
from .image_sources import ImageError, ImageSource
from .label_map import MOST_IN_8_BITS
from .tiles import Tile

if TYPE_CHECKING:
    from rasterio.io import DatasetWriter

# What tiles of 1024 pixels keep begins and ends with a block.
_BLOCK = 128


def segment_geotiff(
    inferencer,
    source: GeoTiff,
    labels_path: str | os.PathLike,
    vocabulary: Vocabulary,
    overlay_path: str | os.PathLike | None = None,
    batch_size: int = 1,
    opacity: float = ALPHA,
    **test_cfg: Any,
) -> Iterator[int]:
    """Segment a GeoTIFF; a few tiles are in memory at a time.

    Files have size, CRS and transform (or control points) of the source. Labels are
    uint8 with a colour table, or uint16 with more than 255 classes; the highest number
    means no data, as in the source. The overlay is RGB, compressed as JPEG.

    Args:
        inferencer: An :class:`OpenVocabInferencer`.
        source: The file.
        labels_path: Where the labels go.
        vocabulary: The classes, as :meth:`OpenVocabInferencer.read_vocabulary` gives
            them.
        overlay_path: Where the image under its classes goes; None: nowhere.
        batch_size: Tiles segmented together.
        opacity: Of the classes in the overlay.
        **test_cfg: As for a call of the inferencer.

    Yields:
        The number of tiles that are done. The files appear after the last.

    Raises:
        ImageError: A tile cannot be read or segmented; no file is left.
    """
    palette = inferencer.palette(vocabulary)
    writer = _Writer(source, labels_path, overlay_path, vocabulary, palette, opacity)
    waiting: list[tuple[Tile, np.ndarray, np.ndarray]] = []
    done = 0

    def images() -> Iterator[ImageSource]:
        nonlocal done
        for tile in source.tiles():
            rgb, there = source.read(tile.box)
            if there.any():
                waiting.append((tile, rgb, there))
                bgr = np.ascontiguousarray(rgb[..., ::-1])
                yield ImageSource(source.path, bgr)
            else:
                writer.write(tile, np.zeros(there.shape, np.int64), rgb, there)
                done += 1

    with writer:
        for prediction in inferencer.predict(
            images(), vocabulary, batch_size=batch_size, **test_cfg
        ):
            tile, rgb, there = waiting.pop(0)
            if prediction.error is not None:
                raise ImageError(
                    f'the tile at column {tile.box.x}, row {tile.box.y}: '
                    f'{prediction.reason}'
                ) from prediction.error
            writer.write(tile, prediction.labels, rgb, there)
            done += 1
            yield done
        yield done


def draw_geotiff(
    source: GeoTiff,
    labels_path: str | os.PathLike,
    vocabulary: Vocabulary,
    palette: np.ndarray,
    opacity: float = ALPHA,
) -> Image.Image:
    """The sheet of a GeoTIFF and its labels, reduced before it is read.

    Args:
        source: The image.
        labels_path: Its labels, as :func:`segment_geotiff` writes them.
        vocabulary: The classes.
        palette: Their colours, uint8 RGB (N, 3).
        opacity: Of the classes.
    """
    with open_tiff(labels_path) as file:
        labels = file.read(1, out_shape=source.preview_size).astype(np.int64)
    sheet = draw_sheet(
        source.preview(),
        {'prediction': labels},
        vocabulary.classes,
        palette,
        opacity,
        clear=vocabulary.background_class,
    )
    return Image.fromarray(sheet)


class _Writer:
    """Writes tiles of labels and overlay; a context, whose files appear at its end."""

    def __init__(
        self,
        source: GeoTiff,
        labels_path: str | os.PathLike,
        overlay_path: str | os.PathLike | None,
        vocabulary: Vocabulary,
        palette: np.ndarray,
        opacity: float,
    ) -> None:
        self.source, self.vocabulary = source, vocabulary
        self.palette, self.opacity = palette, opacity
        self._paths = (labels_path, overlay_path)
        small = vocabulary.num_classes <= MOST_IN_8_BITS
        self._dtype = np.dtype(np.uint8 if small else np.uint16)
        self._no_data = int(np.iinfo(self._dtype).max)

    def __enter__(self) -> _Writer:
        labels_path, overlay_path = self._paths
        with ExitStack() as stack:
            self._labels = stack.enter_context(
                self._created(
                    labels_path,
                    count=1,
                    dtype=self._dtype.name,
                    nodata=self._no_data,
                    compress='deflate',
                )
            )
            if self._dtype == np.uint8:
                colours = dict(enumerate(map(tuple, self.palette.tolist())))
                self._labels.write_colormap(1, colours)
            names = enumerate(self.vocabulary.classes)
            self._labels.update_tags(1, **{f'class_{i}': name for i, name in names})
            self._labels.update_tags(
                bands=str(self.source.bands), limits=str(self.source.limits)
            )
            self._overlay = None
            if overlay_path is not None:
                self._overlay = stack.enter_context(
                    self._created(
                        overlay_path,
                        count=3,
                        dtype='uint8',
                        compress='jpeg',
                        photometric='ycbcr',
                        interleave='pixel',
                    )
                )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.__exit__(*failure)

    def write(
        self, tile: Tile, labels: np.ndarray, rgb: np.ndarray, there: np.ndarray
    ) -> None:
        """Write what is kept of a tile."""
        window = window_of(tile.kept)
        values = np.where(there, labels, self._no_data).astype(self._dtype)
        with told_by(self._paths[0]):
            self._labels.write(values[tile.inner], 1, window=window)
        if self._overlay is not None:
            clear = self.vocabulary.background_class
            values = values.astype(np.int64)
            drawn = draw_overlay(rgb, values, self.palette, self.opacity, clear)
            bands = np.moveaxis(drawn[tile.inner], -1, 0)
            with told_by(self._paths[1]):
                self._overlay.write(bands, window=window)

    @contextmanager
    def _created(
        self, path: str | os.PathLike, **profile: Any
    ) -> Iterator[DatasetWriter]:
        """A new file of the size and the place of the source."""
        source = self.source.file
        points, points_crs = source.gcps
        profile.update(
            driver='GTiff',
            width=source.width,
            height=source.height,
            crs=source.crs,
            transform=None if points else source.transform,
            tiled=True,
            blockxsize=_BLOCK,
            blockysize=_BLOCK,
            bigtiff='if_safer',
        )
        with replacing(path) as temporary, open_tiff(temporary, 'w', **profile) as file:
            if points:
                file.gcps = points, points_crs
            if source.rpcs:
                file.rpcs = source.rpcs
            yield file
