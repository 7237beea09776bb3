"""Data sets that mmseg lacks, and the transforms that load them."""

from .base import OpenVocabSegDataset
from .coco_captions import COCOCaptionsDataset
from .coco_object import COCOObjectDataset
from .feature_pairs import FeaturePairsDataset
from .noun_masks import NounMasksDataset
from .shapes_dataset import ShapesDataset
from .transforms import LoadLabelMap, LoadNounMasks
from .voc20 import PascalVOC20Dataset

__all__ = [
    'COCOCaptionsDataset',
    'COCOObjectDataset',
    'FeaturePairsDataset',
    'LoadLabelMap',
    'LoadNounMasks',
    'NounMasksDataset',
    'OpenVocabSegDataset',
    'PascalVOC20Dataset',
    'ShapesDataset',
]
