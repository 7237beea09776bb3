"""Segmentors."""

from .feature_alignment import FeatureAlignment
from .inference import InferenceCfg
from .open_vocab_segmentor import OpenVocabSegmentor

__all__ = ['FeatureAlignment', 'InferenceCfg', 'OpenVocabSegmentor']
