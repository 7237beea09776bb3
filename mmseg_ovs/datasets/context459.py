"""PASCAL Context with all of its 459 classes (PC-459)."""

from __future__ import annotations

from mmseg.registry import DATASETS

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.visualization.palette import make_palette

from .base import OpenVocabSegDataset

_CLASSES = Vocabulary.build('pascal_context_459').classes


@DATASETS.register_module()
class PascalContext459Dataset(OpenVocabSegDataset):
    """PC-459 (Mottaghi et al., CVPR 2014): all classes, one of them named 'unknown'.

    Label maps are 16-bit, 0..458 and 65535 for unlabelled, made by
    ``tools/dataset_converters/context459.py``. In training, set 65535 also on the data
    preprocessor (``seg_pad_val``), the head and ``RandomCrop`` (``ignore_index``).

    Args:
        ann_file: List of image names (``ImageSets/SegmentationContext459/val.txt``),
            relative to ``data_root``.
        img_suffix: Suffix of the images.
        seg_map_suffix: Suffix of the label maps.
        ignore_index: Label of unlabelled pixels.
        **kwargs: See ``mmseg.datasets.BaseSegDataset``.
    """

    METAINFO = dict(classes=_CLASSES, palette=make_palette(_CLASSES))

    def __init__(
        self,
        ann_file: str,
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        ignore_index: int = 65535,
        **kwargs,
    ) -> None:
        super().__init__(
            ann_file=ann_file,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            ignore_index=ignore_index,
            **kwargs,
        )
