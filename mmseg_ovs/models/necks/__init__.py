"""Necks: from a backbone's features to those the head compares with text."""

from .base import BackboneWithNeck, FeatureNeck, apply_neck, as_visual_features

__all__ = [
    'BackboneWithNeck',
    'FeatureNeck',
    'apply_neck',
    'as_visual_features',
]
