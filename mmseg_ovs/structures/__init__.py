"""What passes between the parts: vocabularies and visual features."""

from .visual_features import VisualFeatures
from .vocabulary import Vocabulary, VocabularyError

__all__ = ['VisualFeatures', 'Vocabulary', 'VocabularyError']
