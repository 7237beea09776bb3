"""Images of predictions over vocabularies of any size and script."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from mmengine.dist import master_only
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from ..utils.atomic_file import replacing
from .overlay import draw_overlay, write_names
from .palette import make_palette
from .sheet import LegendEntry, compose_sheet

# Longer side of a panel: small images are enlarged so that names can be read,
# large ones reduced so that a folder of sheets stays handy.
SMALLEST_PANEL, LARGEST_PANEL = 400, 1280


@VISUALIZERS.register_module()
class OpenVocabVisualizer(SegLocalVisualizer):
    """``SegLocalVisualizer`` which draws image, prediction and label side by side.

    Under the panels stands a legend of the classes present: colour, name, share of
    pixels in the prediction and in the label. Names of any script are drawn; classes
    need no palette. Pixels whose value is not a class (ignored ones) stay undrawn and
    are counted as "not labelled". Works wherever mmseg's does (``--show-dir``,
    inferencers).

    Args:
        classes: class names; ``None``: of ``dataset_name``, or set later through
            ``dataset_meta`` (the runner does).
        palette: ``[R, G, B]`` a class; ``None`` or of another length: made.
        dataset_name: mmseg's name of a data set, for its classes and palette.
        alpha: share of the class colour in the overlay.
        **kwargs: see ``mmseg.visualization.SegLocalVisualizer``.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        dataset_name: str | None = None,
        alpha: float = 0.6,
        **kwargs,
    ) -> None:
        super().__init__(name, alpha=alpha, **kwargs)
        self.set_dataset_meta(classes, palette, dataset_name)

    def set_dataset_meta(
        self,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        dataset_name: str | None = None,
    ) -> None:
        """As in mmseg, but classes without a palette get one."""
        if classes is None:
            super().set_dataset_meta(None, palette, dataset_name)
        else:
            palette = make_palette(len(classes)) if palette is None else palette
            super().set_dataset_meta(list(classes), palette)

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: SegDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
        with_labels: bool = True,
    ) -> None:
        """Draw one image; arguments as in mmseg.

        Args:
            name: identifier of the image in the backends.
            image: uint8 RGB (H, W, 3).
            data_sample: ``pred_sem_seg`` and ``gt_sem_seg`` are drawn where present,
                (1, H, W) at the size of ``image``.
            draw_gt: draw the label.
            draw_pred: draw the prediction.
            show: open a window.
            wait_time: seconds the window stays; 0: until it is closed.
            out_file: file to write instead of giving the image to the backends.
            step: step recorded by the backends.
            with_labels: write class names into the overlays as well.

        Raises:
            ValueError: the image is not uint8 RGB, or a map has another size.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f'{name}: image must be uint8 RGB (H, W, 3), got {image.dtype} '
                f'{image.shape}'
            )
        maps = {}
        if data_sample is not None:
            if draw_pred and 'pred_sem_seg' in data_sample:
                maps['prediction'] = data_sample.pred_sem_seg
            if draw_gt and 'gt_sem_seg' in data_sample:
                maps['label'] = data_sample.gt_sem_seg
        maps = {title: _labels(name, title, m, image) for title, m in maps.items()}
        drawn = self._draw_sheet(image, maps, with_labels)
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is None:
            self.add_image(name, drawn, step)
        else:
            with replacing(out_file) as temporary:
                Image.fromarray(drawn).save(temporary)

    def _draw_sheet(
        self, image: np.ndarray, maps: dict[str, np.ndarray], with_labels: bool
    ) -> np.ndarray:
        """Panels and legend, uint8 RGB."""
        classes, palette = self._classes_and_palette()
        longer = max(image.shape[:2])
        scale = min(max(longer, SMALLEST_PANEL), LARGEST_PANEL) / longer
        shape = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
        size = max(14, round(max(shape) / 40))
        canvas = cv2.resize(
            image,
            shape,
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
        )
        panels = [('image', Image.fromarray(canvas))]
        for title, labels in maps.items():
            labels = cv2.resize(labels, shape, interpolation=cv2.INTER_NEAREST)
            overlay = draw_overlay(canvas, labels, palette, self.alpha)
            panel = Image.fromarray(overlay)
            if with_labels:
                write_names(panel, labels, classes, size)
            panels.append((title, panel))
        entries = _legend(maps, classes, palette)
        title = f'share of pixels: {" | ".join(maps)}'
        return compose_sheet(panels, entries, title, size)

    def _classes_and_palette(self) -> tuple[Sequence[str], np.ndarray]:
        classes = self.dataset_meta['classes']
        palette = self.dataset_meta.get('palette')
        if palette is None or len(palette) != len(classes):
            palette = make_palette(len(classes))
        return classes, np.array(palette, dtype=np.uint8)


def _labels(name: str, title: str, data, image: np.ndarray) -> np.ndarray:
    """Label map of a ``PixelData`` as int32 (H, W)."""
    labels = np.asarray(data.cpu().data, dtype=np.int32).squeeze(0)
    if labels.shape != image.shape[:2]:
        raise ValueError(
            f'{name}: the {title} is {labels.shape}, the image {image.shape[:2]}; '
            'load labels after Resize, so that they keep the size of the image'
        )
    return labels


def _legend(
    maps: dict[str, np.ndarray], classes: Sequence[str], palette: np.ndarray
) -> list[LegendEntry]:
    """Classes present in any map, the largest first; undrawn pixels last."""
    counts = []
    for labels in maps.values():
        known = np.where((labels >= 0) & (labels < len(classes)), labels, len(classes))
        counts.append(np.bincount(known.ravel(), minlength=len(classes) + 1))
    if not counts:
        return []
    shares = np.array([count / count.sum() for count in counts])
    order = sorted(range(len(classes)), key=lambda i: -shares[:, i].max())
    entries = []
    for i in (*order, len(classes)):
        if shares[:, i].any():
            is_class = i < len(classes)
            entries.append(
                LegendEntry(
                    colour=tuple(palette[i].tolist()) if is_class else None,
                    name=classes[i] if is_class else 'not labelled',
                    shares=' | '.join(f'{100 * share:.1f}%' for share in shares[:, i]),
                )
            )
    return entries
