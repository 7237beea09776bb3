"""Data transforms that mmseg lacks."""

from .load_label_map import LoadLabelMap
from .load_noun_masks import LoadNounMasks
from .load_teacher_features import LoadTeacherFeatures
from .noun_masks import PackNounMasks

__all__ = [
    'LoadLabelMap',
    'LoadNounMasks',
    'LoadTeacherFeatures',
    'PackNounMasks',
]
