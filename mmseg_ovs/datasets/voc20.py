"""PASCAL VOC without its background class."""

from __future__ import annotations

from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS

from .base import OpenVocabSegDataset


@DATASETS.register_module()
class PascalVOC20Dataset(OpenVocabSegDataset):
    """PASCAL VOC 2012 with 20 classes: background (0) and border (255) are ignored.

    Reads the label maps of ``PascalVOCDataset`` as they are; label ``k`` of the file
    becomes ``k - 1``.

    Args:
        ann_file: list of image names (``ImageSets/Segmentation/val.txt``), relative
            to ``data_root``.
        reduce_zero_label: set False only for label maps that already are 0..19.
    """

    METAINFO = dict(
        classes=PascalVOCDataset.METAINFO['classes'][1:],
        palette=PascalVOCDataset.METAINFO['palette'][1:],
    )

    def __init__(
        self,
        ann_file: str,
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        reduce_zero_label: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(
            ann_file=ann_file,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            reduce_zero_label=reduce_zero_label,
            **kwargs,
        )
