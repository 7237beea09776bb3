"""Inference on images of one's own."""

from mmseg_ovs.composition import UnknownConfigError, find_config
from mmseg_ovs.models.segmentors import build_temporal

from .geotiff import GeoTiff, GeoTiffError, Reading
from .geotiff_output import draw_geotiff, segment_geotiff
from .image_sources import ImageError, ImageSource, list_files, list_images
from .inferencer import OpenVocabInferencer
from .prediction import Prediction
from .result_folder import FORMATS, ResultFolder
from .video_encoders import VideoError
from .video_report import VideoReport
from .videos import Video, writing_video

__all__ = [
    'FORMATS',
    'GeoTiff',
    'GeoTiffError',
    'ImageError',
    'ImageSource',
    'OpenVocabInferencer',
    'Prediction',
    'Reading',
    'ResultFolder',
    'UnknownConfigError',
    'Video',
    'VideoError',
    'VideoReport',
    'build_temporal',
    'draw_geotiff',
    'find_config',
    'list_files',
    'list_images',
    'segment_geotiff',
    'writing_video',
]
