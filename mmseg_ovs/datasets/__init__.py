"""Data sets that mmseg lacks, and the transforms that load them."""

from .ade20k_847 import ADE20K847Dataset
from .base import OpenVocabSegDataset
from .coco_captions import COCOCaptionsDataset
from .coco_object import COCOObjectDataset
from .context459 import PascalContext459Dataset
from .feature_pairs import FeaturePairsDataset
from .image_backend import CheckedImagesBackend
from .noun_masks import NounMasksDataset
from .shapes_dataset import ShapesDataset
from .transforms import LoadLabelMap, LoadNounMasks
from .voc20 import PascalVOC20Dataset
from .voc20b import PascalVOC20bDataset

__all__ = [
    'ADE20K847Dataset',
    'COCOCaptionsDataset',
    'COCOObjectDataset',
    'CheckedImagesBackend',
    'FeaturePairsDataset',
    'LoadLabelMap',
    'LoadNounMasks',
    'NounMasksDataset',
    'OpenVocabSegDataset',
    'PascalContext459Dataset',
    'PascalVOC20Dataset',
    'PascalVOC20bDataset',
    'ShapesDataset',
]
