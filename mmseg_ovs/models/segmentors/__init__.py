"""Segmentors."""

from .feature_alignment import FeatureAlignment
from .inference import InferenceCfg
from .local_global import FeatureAggregation, LogitsAggregation
from .open_vocab_segmentor import OpenVocabSegmentor

__all__ = [
    'FeatureAggregation',
    'FeatureAlignment',
    'InferenceCfg',
    'LogitsAggregation',
    'OpenVocabSegmentor',
]
