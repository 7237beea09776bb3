"""Segmentors."""

from .feature_alignment import FeatureAlignment
from .local_global import FeatureAggregation, LogitsAggregation
from .open_vocab_segmentor import OpenVocabSegmentor
from .settings import InferenceCfg
from .tta import OpenVocabTTAModel

__all__ = [
    'FeatureAggregation',
    'FeatureAlignment',
    'InferenceCfg',
    'LogitsAggregation',
    'OpenVocabSegmentor',
    'OpenVocabTTAModel',
]
