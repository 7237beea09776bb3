"""Drawing of predictions."""

from .open_vocab_visualizer import OpenVocabVisualizer
from .palette import make_palette

__all__ = ['OpenVocabVisualizer', 'make_palette']
