"""What features look like: their frequencies, and how alike two networks are."""

from .cka import StreamingCKA, paired_positions
from .figures import plot_cka, plot_spectrum
from .images import ImageStream
from .layers import BackboneConfigError, LayerFeatures
from .spectrum import RadialSpectrum, frequency_radius, power_spectrum

__all__ = [
    'BackboneConfigError',
    'ImageStream',
    'LayerFeatures',
    'RadialSpectrum',
    'StreamingCKA',
    'frequency_radius',
    'paired_positions',
    'plot_cka',
    'plot_spectrum',
    'power_spectrum',
]
