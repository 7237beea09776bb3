"""Open-vocabulary decode heads."""

from .base import OpenVocabHead
from .talk2dino_head import Talk2DINOHead, Talk2DINOProjection
from .text_similarity_head import TextSimilarityHead

__all__ = [
    'OpenVocabHead',
    'Talk2DINOHead',
    'Talk2DINOProjection',
    'TextSimilarityHead',
]
