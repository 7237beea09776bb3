"""Hooks."""

from .acceleration_hook import AccelerationHook
from .checkpoint_guard_hook import CheckpointGuardHook
from .protocol_hook import ProtocolHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .step_seed_hook import StepSeedHook
from .vocabulary_hook import VocabularyHook

__all__ = [
    'AccelerationHook',
    'CheckpointGuardHook',
    'ProtocolHook',
    'SafeCheckpointHook',
    'StepSeedHook',
    'VocabularyHook',
]
