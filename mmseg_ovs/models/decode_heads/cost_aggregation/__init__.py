"""Cost aggregation: the correlation of image and words, refined and upsampled.

Source: Cho et al., "CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic
Segmentation" (CVPR 2024, arXiv 2303.11797), cvlab-kaist/CAT-Seg
cat_seg/modeling/transformer/model.py. Keys follow the authors'.
"""

from .aggregator import Aggregator
from .class_block import ClassBlock
from .correlation import correlation
from .guidance_map import GuidanceMap
from .guided_decoder import GuidedUpsampling
from .shifted_windows import ShiftedWindows
from .spatial_block import SpatialBlock

__all__ = [
    'Aggregator',
    'ClassBlock',
    'GuidanceMap',
    'GuidedUpsampling',
    'ShiftedWindows',
    'SpatialBlock',
    'correlation',
]
