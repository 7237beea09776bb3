"""Data sets that mmseg lacks, and the transforms that load them."""

from .base import OpenVocabSegDataset
from .coco_captions import COCOCaptionsDataset
from .coco_object import COCOObjectDataset
from .feature_pairs import FeaturePairsDataset
from .shapes_dataset import ShapesDataset
from .transforms import LoadLabelMap
from .voc20 import PascalVOC20Dataset

__all__ = [
    'COCOCaptionsDataset',
    'COCOObjectDataset',
    'FeaturePairsDataset',
    'LoadLabelMap',
    'OpenVocabSegDataset',
    'PascalVOC20Dataset',
    'ShapesDataset',
]
