"""What features look like, how alike two networks are, where predictions are wrong."""

from .cka import StreamingCKA, paired_positions
from .error_tables import write_errors
from .errors import COCO_AREAS, ErrorCounts, PartScore
from .feature_maps import draw_feature_sheet
from .figures import plot_cka, plot_confusion, plot_handicaps, plot_spectrum
from .images import ImageStream
from .labels import LabelMaps
from .layers import BackboneConfigError, LayerFeatures
from .spectrum import RadialSpectrum, frequency_radius, power_spectrum

__all__ = [
    'COCO_AREAS',
    'BackboneConfigError',
    'ErrorCounts',
    'ImageStream',
    'LabelMaps',
    'LayerFeatures',
    'PartScore',
    'RadialSpectrum',
    'StreamingCKA',
    'draw_feature_sheet',
    'frequency_radius',
    'paired_positions',
    'plot_cka',
    'plot_confusion',
    'plot_handicaps',
    'plot_spectrum',
    'power_spectrum',
    'write_errors',
]
