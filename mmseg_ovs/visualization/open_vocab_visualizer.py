"""Images of predictions over vocabularies of any size and script."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.dist import master_only
from mmseg.registry import VISUALIZERS
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

from mmseg_ovs.utils.atomic_file import replacing

from .palette import make_palette
from .sheet import ALPHA, draw_sheet


@VISUALIZERS.register_module()
class OpenVocabVisualizer(SegLocalVisualizer):
    """``SegLocalVisualizer`` which draws image, prediction and label side by side.

    Under the panels is a legend of the classes present: colour, name, share of
    pixels in the prediction and in the label. Names of any script are drawn; classes
    need no palette. Pixels whose value is not a class (ignored ones) stay undrawn and
    are counted as "not labelled". Works wherever mmseg's does (``--show-dir``,
    inferencers).

    Args:
        name: name of the instance.
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
        alpha: float = ALPHA,
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
            palette = make_palette(classes) if palette is None else palette
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
        maps = {}
        if data_sample is not None:
            if draw_pred and 'pred_sem_seg' in data_sample:
                maps['prediction'] = data_sample.pred_sem_seg
            if draw_gt and 'gt_sem_seg' in data_sample:
                maps['label'] = data_sample.gt_sem_seg
        maps = {title: m.cpu().data.squeeze(0).numpy() for title, m in maps.items()}
        classes, palette = self._classes_and_palette()
        try:
            drawn = draw_sheet(image, maps, classes, palette, self.alpha, with_labels)
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from error
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is None:
            self.add_image(name, drawn, step)
        else:
            with replacing(out_file) as temporary:
                Image.fromarray(drawn).save(temporary)

    def _classes_and_palette(self) -> tuple[Sequence[str], np.ndarray]:
        classes = self.dataset_meta['classes']
        palette = self.dataset_meta.get('palette')
        if palette is None or len(palette) != len(classes):
            palette = make_palette(classes)
        return classes, np.array(palette, dtype=np.uint8)
