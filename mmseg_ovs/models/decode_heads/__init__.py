"""Open-vocabulary decode heads."""

from .alignment_head import AlignmentHead
from .base import FeatureAuxiliaryHead, OpenVocabHead
from .cost_aggregation_head import CostAggregationHead
from .groupvit_head import GroupViTHead
from .ovs_dino_head import OVSDINOHead
from .pixelclip_head import PixelCLIPHead
from .talk2dino_head import Talk2DINOHead, Talk2DINOProjection
from .tcl_head import TCLHead
from .text_similarity_head import TextSimilarityHead

__all__ = [
    'AlignmentHead',
    'CostAggregationHead',
    'FeatureAuxiliaryHead',
    'GroupViTHead',
    'OVSDINOHead',
    'OpenVocabHead',
    'PixelCLIPHead',
    'TCLHead',
    'Talk2DINOHead',
    'Talk2DINOProjection',
    'TextSimilarityHead',
]
