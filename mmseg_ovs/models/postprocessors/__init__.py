"""Post-processors of score maps, built from config and run by the segmentor."""

from .background_cleaning import BackgroundCleaning
from .base import GridPostProcessor, ImagePostProcessor
from .pamr import PAMR
from .pixel_propagation import PixelPropagation
from .score_mix import ScoreMix
from .uncertain_background import UncertainBackground

__all__ = [
    'PAMR',
    'BackgroundCleaning',
    'GridPostProcessor',
    'ImagePostProcessor',
    'PixelPropagation',
    'ScoreMix',
    'UncertainBackground',
]
