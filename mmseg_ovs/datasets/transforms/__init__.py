"""Data transforms that mmseg lacks."""

from .load_label_map import LoadLabelMap
from .noun_masks import PackNounMasks

__all__ = ['LoadLabelMap', 'PackNounMasks']
