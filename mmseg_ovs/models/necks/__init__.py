"""Necks: from a backbone's features to those the head compares with text."""

from .anyup import AnyUp
from .base import BackboneWithNeck, FeatureNeck, apply_neck, as_visual_features
from .correlation_pooling import CorrelationPooling
from .dinotxt_head import DinoTxtVisionHead
from .preservation_gate import PreservationGate
from .semantic_prior_encoder import SemanticPriorEncoder
from .structure_aware_encoder import StructureAwareEncoder
from .structure_modulated_decoder import StructureModulatedDecoder
from .tcl_masker import TCLMasker
from .teacher_features import TeacherFeatures

__all__ = [
    'AnyUp',
    'BackboneWithNeck',
    'CorrelationPooling',
    'DinoTxtVisionHead',
    'FeatureNeck',
    'PreservationGate',
    'SemanticPriorEncoder',
    'StructureAwareEncoder',
    'StructureModulatedDecoder',
    'TCLMasker',
    'TeacherFeatures',
    'apply_neck',
    'as_visual_features',
]
