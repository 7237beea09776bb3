"""ADE20K-full with 847 classes (A-847)."""

from __future__ import annotations

from mmseg.registry import DATASETS

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.visualization.palette import make_palette

from .base import OpenVocabSegDataset

_CLASSES = Vocabulary.build('ade20k_847').classes


@DATASETS.register_module()
class ADE20K847Dataset(OpenVocabSegDataset):
    """A-847: the classes of ADE20K-full that occur in training and validation.

    Classes and order of Cheng et al., "Per-Pixel Classification is Not All You Need"
    (NeurIPS 2021); their names are lists of synonyms with commas. Label maps are
    16-bit, 0..846 and 65535 for unlabelled, made by
    ``tools/dataset_converters/ade20k_847.py``. In training, set 65535 also on the data
    preprocessor (``seg_pad_val``), the head and ``RandomCrop`` (``ignore_index``).
    """

    METAINFO = dict(classes=_CLASSES, palette=make_palette(_CLASSES))

    def __init__(
        self,
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        ignore_index: int = 65535,
        **kwargs,
    ) -> None:
        super().__init__(
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            ignore_index=ignore_index,
            **kwargs,
        )
