"""Label maps of any number of classes, checked when they are read."""

from __future__ import annotations

import io

import mmengine.fileio as fileio
import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image, ImageOps

from ..label_size import check_label_size

LARGEST_LABEL = 65535


@TRANSFORMS.register_module()
class LoadLabelMap(LoadAnnotations):
    """mmseg's ``LoadAnnotations`` for labels up to 65535.

    mmseg casts labels to ``uint8``: ids above 255 come out as other classes. Here
    labels stay ``uint16`` (which, unlike ``int32``, every OpenCV transform accepts),
    and dropped classes become ``ignore_index``, never a fixed 255.

    A sample without ``seg_map_path`` passes unchanged, so a test pipeline also works
    for images without labels (mmseg's inference API removes only transforms named
    ``LoadAnnotations``); the metric then reports the missing label.

    Args:
        num_classes: number of classes. ``None``: what the data set says
            (:class:`OpenVocabSegDataset` does; mmseg's own data sets do not, give
            the number here).
        ignore_index: label of unlabelled pixels. ``None``: what the data set says,
            or 255.
        check_values: refuse label maps with a value which is neither a class nor
            ``ignore_index``.
        reduce_zero_label: as in mmseg; ``None``: what the data set says.
        backend_args: file backend, as in mmseg.
        labels_follow_exif: the labels were drawn on images turned by their EXIF tag,
            as viewers show them and OpenCV loads them. Accepts turned images whose
            label has the same size in either position (see
            :func:`~mmseg_ovs.datasets.label_size.check_label_size`).

    Required keys: ``seg_map_path``, ``seg_fields``; optional ``reduce_zero_label``,
    ``label_map``, ``num_classes``, ``ignore_index``; ``img_path`` and ``ori_shape`` of
    the image, if it is loaded first. Adds ``gt_seg_map``, uint16 of shape (H, W).

    Raises:
        FileNotFoundError: the label file is missing.
        ValueError: it cannot be read, is not a map of integers in 0..65535, has a
            value outside the classes or another size than the image; or the number of
            classes is not known.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        ignore_index: int | None = None,
        check_values: bool = True,
        reduce_zero_label: bool | None = None,
        backend_args: dict | None = None,
        labels_follow_exif: bool = False,
    ) -> None:
        super().__init__(reduce_zero_label=reduce_zero_label, backend_args=backend_args)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.check_values = check_values
        self.labels_follow_exif = labels_follow_exif

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map`` where the sample has a label file."""
        if results.get('seg_map_path') is not None:
            self._load_seg_map(results)
        return results

    def _load_seg_map(self, results: dict) -> None:
        path = results['seg_map_path']
        num_classes, ignore = self._label_range(results)
        labels = self._read(path)
        if 'ori_shape' in results:
            check_label_size(
                labels.shape,
                path,
                results['ori_shape'][:2],
                results.get('img_path'),
                self.labels_follow_exif,
            )

        reduce = results.get('reduce_zero_label', False)
        if self.reduce_zero_label not in (None, reduce):
            raise ValueError(
                f'LoadLabelMap has reduce_zero_label={self.reduce_zero_label}, the '
                f'data set {reduce}: set it on the data set alone'
            )
        if reduce:
            # 0 and ignore_index wrap to or stay at "unlabelled".
            unlabelled = (labels == 0) | (labels == ignore)
            labels = np.where(unlabelled, np.uint16(ignore), labels - 1)
        if results.get('label_map') is not None:
            labels = self._renumber(labels, results['label_map'], num_classes, ignore)
        if self.check_values:
            outside = labels[(labels >= num_classes) & (labels != ignore)]
            if outside.size:
                after = ' after reduce_zero_label' if reduce else ''
                raise ValueError(
                    f'{path} has the value {int(outside[0])} ({outside.size} pixels '
                    f'with such values){after}, but there are {num_classes} classes '
                    f'(0..{num_classes - 1}) and ignore_index={ignore}'
                )
        results['gt_seg_map'] = labels
        results['seg_fields'].append('gt_seg_map')

    def _label_range(self, results: dict) -> tuple[int | None, int]:
        """Number of classes (None: not known, not needed) and ignore label."""
        num_classes = self.num_classes
        if num_classes is None:
            num_classes = results.get('num_classes')
        ignore = self.ignore_index
        if ignore is None:
            ignore = results.get('ignore_index', 255)
        if num_classes is None:
            if self.check_values:
                raise ValueError(
                    'LoadLabelMap does not know the number of classes of this data '
                    'set: give LoadLabelMap(num_classes=...), or check_values=False'
                )
        elif ignore < num_classes:
            raise ValueError(
                f'ignore_index={ignore} is one of the {num_classes} classes: set '
                f'ignore_index={LARGEST_LABEL} on the data set, the loss, the data '
                'preprocessor (seg_pad_val) and the metric'
            )
        return num_classes, ignore

    def _read(self, path: str) -> np.ndarray:
        """Labels as written in the file, uint16 (H, W)."""
        try:
            content = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError as error:
            raise FileNotFoundError(f'label map {path} does not exist') from error
        try:
            with Image.open(io.BytesIO(content)) as image:
                # A label with a tag of its own is turned as its image is.
                labels = np.array(ImageOps.exif_transpose(image))
        except Exception as error:  # what decoders make of damaged files
            raise ValueError(f'label map {path} cannot be read: {error}') from error
        if labels.ndim != 2 or labels.dtype.kind not in 'biu':
            raise ValueError(
                f'label map {path} is not one plane of integers: shape '
                f'{labels.shape}, {labels.dtype}'
            )
        if labels.dtype.itemsize > 1 and labels.size:
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high > LARGEST_LABEL:
                raise ValueError(
                    f'label map {path} has values {low}..{high}, outside '
                    f'0..{LARGEST_LABEL}'
                )
        return labels.astype(np.uint16)

    @staticmethod
    def _renumber(
        labels: np.ndarray, label_map: dict, num_classes: int | None, ignore: int
    ) -> np.ndarray:
        """Apply a data set's old-to-new label map; dropped classes are ignored."""
        # mmseg marks dropped classes with 255, whatever its ignore_index is.
        dropped_mark = 255
        if num_classes is not None and num_classes > dropped_mark:
            if list(label_map.values()).count(dropped_mark) > 1:
                raise ValueError(
                    'mmseg marks the classes left out by metainfo with 255, which is '
                    f'also one of these {num_classes} classes: derive the data set '
                    'from OpenVocabSegDataset'
                )
            dropped_mark = ignore
        table = np.arange(LARGEST_LABEL + 1, dtype=np.uint16)
        for old, new in label_map.items():
            table[old] = ignore if new == dropped_mark else new
        return table[labels]

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_classes={self.num_classes}, '
            f'ignore_index={self.ignore_index}, check_values={self.check_values}, '
            f'reduce_zero_label={self.reduce_zero_label}, '
            f'backend_args={self.backend_args}, '
            f'labels_follow_exif={self.labels_follow_exif})'
        )
