"""The result for one image."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import load_extra, replacing
from mmseg_ovs.visualization.overlay import draw_overlay, write_names
from mmseg_ovs.visualization.sheet import ALPHA, draw_sheet

from .class_masks import ClassMask, class_masks
from .coco import coco_dataset
from .image_sources import ImageError, ImageSource
from .label_map import label_map_image
from .outlines import outlines

if TYPE_CHECKING:
    from shapely import MultiPolygon
    from supervision import Detections

# What the scores of one image may take while they are kept, in bytes.
LARGEST_SCORES = 2 * 2**30


@dataclass(repr=False)
class Prediction:
    """The result for one image; a notebook shows it as :meth:`sheet`.

    Attributes:
        source: The image that was asked for.
        vocabulary: The classes that were looked for.
        palette: Their colours, uint8 RGB (N, 3).
        image: Its pixels, uint8 RGB (H, W, 3).
        sample: On the CPU, with ``pred_sem_seg`` (1, H, W) and, if scores were kept,
            ``seg_logits`` (N, H, W). None if the image failed.
        error: Why it failed. Whatever needs the result then raises
            :class:`ImageError`.
    """

    source: ImageSource
    vocabulary: Vocabulary
    palette: np.ndarray
    image: np.ndarray | None = None
    sample: SegDataSample | None = None
    error: Exception | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each label."""
        return self.vocabulary.classes

    @property
    def labels(self) -> np.ndarray:
        """Label map, int64 (H, W)."""
        return self._result().pred_sem_seg.data[0].numpy()

    @property
    def has_scores(self) -> bool:
        """Whether scores were kept."""
        return 'seg_logits' in self._result()

    @property
    def scores(self) -> np.ndarray:
        """Scores of the classes, float32 (N, H, W).

        Raises:
            ImageError: They were not kept.
        """
        if not self.has_scores:
            raise ImageError(
                'Scores are kept only on request, as they are large: call with '
                'keep_scores=True'
            )
        return self._result().seg_logits.data.numpy()

    @property
    def shares(self) -> dict[str, float]:
        """Share of all pixels, 0..1, of each class that is there, the largest first."""
        counts = np.bincount(self.labels.ravel())
        order = [i for i in np.argsort(-counts, kind='stable').tolist() if counts[i]]
        return {self.names[i]: float(counts[i] / counts.sum()) for i in order}

    # ------------------------------------------------------------------ pictures
    def plot(self, opacity: float = ALPHA, names: bool = True) -> Image.Image:
        """The image under its classes, of its own size; the background stays clear.

        Args:
            opacity: Share of the colour of a class, 0..1.
            names: Write the names of classes into it.
        """
        clear = self.vocabulary.background_class
        drawn = draw_overlay(self.image, self.labels, self.palette, opacity, clear)
        overlay = Image.fromarray(drawn)
        if names:
            size = max(14, round(overlay.height / 40))
            write_names(overlay, self.labels, self.names, size, clear)
        return overlay

    def sheet(self, opacity: float = ALPHA) -> Image.Image:
        """Image and overlay side by side, over a legend with the share of each class.

        Args:
            opacity: See :meth:`plot`.
        """
        sheet = draw_sheet(
            self.image,
            {'prediction': self.labels},
            self.names,
            self.palette,
            opacity,
            clear=self.vocabulary.background_class,
        )
        return Image.fromarray(sheet)

    def label_map(self) -> Image.Image:
        """The label map in the colours of the classes, see :func:`label_map_image`."""
        return label_map_image(self.labels, self.palette)

    def save(self, path: str | os.PathLike) -> None:
        """Write the label map as a PNG file, see :meth:`label_map`.

        Pictures are saved by Pillow: ``prediction.plot().save('overlay.jpg')``.

        Raises:
            ImageError: The name does not end in ``.png``.
        """
        if Path(path).suffix.lower() != '.png':
            raise ImageError(
                f'{path}: label maps are PNG files, as others lose the labels. For a '
                "picture: prediction.plot().save('overlay.jpg')"
            )
        with replacing(path) as temporary:
            self.label_map().save(temporary)

    # ------------------------------------------------------------ for other tools
    def masks(self) -> Iterator[ClassMask]:
        """Each class that is there, without the background."""
        scores = self.scores if self.has_scores else None
        return class_masks(self.labels, self.vocabulary, scores)

    def to_supervision(self) -> Detections:
        """A detection for each class that is there, with its mask and name.

        ``confidence`` is the mean score within the mask, if scores were kept.

        Raises:
            MissingLibraryError: supervision is not installed.
        """
        purpose = 'to_supervision()'
        supervision = load_extra('supervision', 'supervision', purpose)
        found = list(self.masks())
        if not found:
            return supervision.Detections.empty()
        masks = np.stack([one.mask for one in found])
        has_scores = self.has_scores
        return supervision.Detections(
            xyxy=supervision.mask_to_xyxy(masks).astype(np.float32),
            mask=masks,
            class_id=np.array([one.label for one in found]),
            confidence=np.array([one.score for one in found]) if has_scores else None,
            data=dict(class_name=np.array([one.name for one in found])),
        )

    def to_coco(self, polygons: bool = False) -> dict[str, list[dict[str, Any]]]:
        """A COCO data set of this image.

        Args:
            polygons: See :func:`coco_annotation`.
        """
        name, size = os.path.basename(self.source.name), self.labels.shape
        return coco_dataset(self.vocabulary, name, size, self.masks(), polygons)

    def to_polygons(self) -> dict[str, MultiPolygon]:
        """The region of each class by name, in pixels from the top left corner.

        They follow the edges of pixels, so areas are exact; ``simplify`` of shapely
        makes them smooth.

        Raises:
            MissingLibraryError: shapely is not installed.
        """
        shapely = load_extra('shapely', 'polygons', 'to_polygons()')
        found = {}
        for one in self.masks():
            parts = [
                shapely.Polygon(shell, holes) for shell, holes in outlines(one.mask)
            ]
            # Holes that touch at a corner are one ring, which shapely splits.
            region = shapely.make_valid(shapely.MultiPolygon(parts))
            kinds = shapely.get_parts(region)
            found[one.name] = shapely.MultiPolygon(list(kinds))
        return found

    # ------------------------------------------------------------------- as text
    def __repr__(self) -> str:
        """The name of the image and what is in it."""
        if self.error is not None:
            return f'<Prediction of {self.source.name}: failed, {self.reason}>'
        height, width = self.labels.shape
        classes = [f'{name} {100 * share:.1f} %' for name, share in self.shares.items()]
        more = f', and {len(classes) - 5} more' if len(classes) > 5 else ''
        return (
            f'<Prediction of {self.source.name}: {width} x {height}, '
            f'{", ".join(classes[:5])}{more}>'
        )

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows."""
        if self.error is not None:
            return None
        stream = io.BytesIO()
        self.sheet().save(stream, 'png')
        return stream.getvalue()

    @property
    def reason(self) -> str:
        """The error in one line."""
        return ' '.join(f'{type(self.error).__name__}: {self.error}'.split())

    def check(self) -> None:
        """Raise :class:`ImageError` if the image failed."""
        if self.error is not None:
            raise ImageError(
                f'{self.source.name} could not be segmented: {self.reason}'
            ) from self.error

    def _result(self) -> SegDataSample:
        self.check()
        return self.sample

    def refuse_large_scores(self) -> None:
        """Fail an image whose scores of all names would be too large to keep."""
        if self.error is not None:
            return
        height, width = self.image.shape[:2]
        rows = len(self.vocabulary.rows)
        needed = 4 * rows * height * width
        if needed > LARGEST_SCORES:
            self.error = ImageError(
                f'the scores of {rows} names at {width} x {height} pixels take '
                f'{needed / 2**20:.1f} MiB, more than {LARGEST_SCORES / 2**20:.1f}: '
                'ask for fewer classes, give a smaller image or do without scores'
            )
