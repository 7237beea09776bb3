"""Inference on images of one's own."""

from mmseg_ovs.composition import UnknownConfigError, find_config

from .image_sources import ImageError, ImageSource, list_files, list_images
from .inferencer import OpenVocabInferencer
from .prediction import Prediction
from .result_folder import FORMATS, ResultFolder
from .videos import Video, VideoError, writing_video

__all__ = [
    'FORMATS',
    'ImageError',
    'ImageSource',
    'OpenVocabInferencer',
    'Prediction',
    'ResultFolder',
    'UnknownConfigError',
    'Video',
    'VideoError',
    'find_config',
    'list_files',
    'list_images',
    'writing_video',
]
