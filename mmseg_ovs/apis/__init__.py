"""Inference on pictures of one's own."""

from .image_sources import ImageError, ImageSource, list_images
from .inferencer import OpenVocabInferencer, Prediction
from .result_folder import ResultFolder
from .shipped_configs import UnknownConfigError, find_config

__all__ = [
    'ImageError',
    'ImageSource',
    'OpenVocabInferencer',
    'Prediction',
    'ResultFolder',
    'UnknownConfigError',
    'find_config',
    'list_images',
]
