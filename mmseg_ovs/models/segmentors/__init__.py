"""Segmentors."""

from .crop_reconstruction import CropReconstruction
from .feature_alignment import FeatureAlignment
from .label_propagation import LabelPropagation
from .local_global import FeatureAggregation, LogitsAggregation
from .mask_scores import MaskInference
from .open_vocab_san import OpenVocabSAN
from .open_vocab_segmentor import OpenVocabSegmentor
from .settings import InferenceCfg
from .student_alignment import StudentAlignment
from .temporal import Temporal, build_temporal
from .tta import OpenVocabTTAModel

__all__ = [
    'CropReconstruction',
    'FeatureAggregation',
    'FeatureAlignment',
    'InferenceCfg',
    'LabelPropagation',
    'LogitsAggregation',
    'MaskInference',
    'OpenVocabSAN',
    'OpenVocabSegmentor',
    'OpenVocabTTAModel',
    'StudentAlignment',
    'Temporal',
    'build_temporal',
]
