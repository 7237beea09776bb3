"""From data sets as downloaded to label maps that the data set classes read."""

from .ade20k_847 import plan_ade20k_847
from .coco_object import plan_coco_object
from .conversion import Conversion, ConversionError, Report, run
from .pascal_context import plan_context_60, plan_context_459

__all__ = [
    'Conversion',
    'ConversionError',
    'Report',
    'plan_ade20k_847',
    'plan_coco_object',
    'plan_context_459',
    'plan_context_60',
    'run',
]
