"""Data transforms that mmseg lacks."""

from .load_label_map import LoadLabelMap

__all__ = ['LoadLabelMap']
