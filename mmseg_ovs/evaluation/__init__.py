"""Metrics that mmseg lacks."""

from .boundary_iou import BoundaryIoUMetric
from .flicker import Flicker
from .open_vocab_iou import OpenVocabIoUMetric

__all__ = ['BoundaryIoUMetric', 'Flicker', 'OpenVocabIoUMetric']
