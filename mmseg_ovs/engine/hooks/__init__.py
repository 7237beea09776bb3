"""Hooks."""

from .acceleration_hook import AccelerationHook
from .check_finite_hook import CheckFiniteHook
from .checkpoint_guard_hook import CheckpointGuardHook
from .ignore_index_hook import IgnoreIndexHook
from .label_maps_hook import LabelMapsHook
from .protocol_hook import ProtocolHook
from .resume_report_hook import ResumeReportHook
from .run_summary_hook import RunSummaryHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .step_seed_hook import StepSeedHook
from .visualization_hook import OpenVocabVisualizationHook
from .vocabulary_hook import VocabularyHook

__all__ = [
    'AccelerationHook',
    'CheckFiniteHook',
    'CheckpointGuardHook',
    'IgnoreIndexHook',
    'LabelMapsHook',
    'OpenVocabVisualizationHook',
    'ProtocolHook',
    'ResumeReportHook',
    'RunSummaryHook',
    'SafeCheckpointHook',
    'StepSeedHook',
    'VocabularyHook',
]
