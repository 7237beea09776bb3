"""PASCAL VOC whose background is the last class (PAS-20b)."""

from __future__ import annotations

from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS

from .base import OpenVocabSegDataset

_VOC = PascalVOCDataset.METAINFO


@DATASETS.register_module()
class PascalVOC20bDataset(OpenVocabSegDataset):
    """PAS-20b of CAT-Seg (Cho et al., CVPR 2024): 20 classes, then background.

    Reads the label maps of ``PascalVOCDataset`` as they are: label 0 of the file
    becomes 20 and ``k`` becomes ``k - 1``; the border (255) is ignored. The benchmark
    goes with the vocabulary ``voc_20b_catseg``, whose background is the best of the 39
    names of Context-59 that are no VOC class.

    Args:
        ann_file: List of image names (``ImageSets/Segmentation/val.txt``), relative to
            ``data_root``.
        img_suffix: Suffix of the images.
        seg_map_suffix: Suffix of the label maps.
        **kwargs: See ``mmseg.datasets.BaseSegDataset``; ``reduce_zero_label`` cannot
            be set.
    """

    METAINFO = dict(
        classes=(*_VOC['classes'][1:], 'background'),
        palette=[*_VOC['palette'][1:], [0, 0, 0]],
    )

    def __init__(
        self,
        ann_file: str,
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        **kwargs,
    ) -> None:
        super().__init__(
            ann_file=ann_file,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            reduce_zero_label=False,
            **kwargs,
        )

    def get_data_info(self, idx: int) -> dict:
        """One sample's record, with the map from the file's labels to the classes."""
        info = super().get_data_info(idx)
        kept = info['label_map'] or {label: label for label in range(21)}
        info['label_map'] = {(label + 1) % 21: new for label, new in kept.items()}
        return info
