"""Drawing of predictions."""

from .image_folder_backend import ImageFolderVisBackend
from .open_vocab_visualizer import OpenVocabVisualizer
from .palette import make_palette

__all__ = ['ImageFolderVisBackend', 'OpenVocabVisualizer', 'make_palette']
