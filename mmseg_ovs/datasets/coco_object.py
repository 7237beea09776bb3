"""COCO-Object: background and the 80 things of COCO."""

from __future__ import annotations

from mmseg.datasets import COCOStuffDataset
from mmseg.registry import DATASETS

from .base import OpenVocabSegDataset


@DATASETS.register_module()
class COCOObjectDataset(OpenVocabSegDataset):
    """COCO-Object of GroupViT (Xu et al., CVPR 2022): 81 classes, 0 = background.

    The things are the first 80 classes of COCO-Stuff, in the same order and colours.
    Label maps lie beside those of COCO-Stuff as ``<id>_instanceTrainIds.png``; stuff
    and unlabelled pixels count as background, so nothing is ignored.
    """

    METAINFO = dict(
        classes=('background', *COCOStuffDataset.METAINFO['classes'][:80]),
        palette=[[0, 0, 0], *COCOStuffDataset.METAINFO['palette'][:80]],
    )

    def __init__(
        self,
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '_instanceTrainIds.png',
        **kwargs,
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
