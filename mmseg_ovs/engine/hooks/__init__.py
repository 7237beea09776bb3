"""Hooks."""

from .checkpoint_guard_hook import CheckpointGuardHook
from .protocol_hook import ProtocolHook
from .step_seed_hook import StepSeedHook
from .vocabulary_hook import VocabularyHook

__all__ = ['CheckpointGuardHook', 'ProtocolHook', 'StepSeedHook', 'VocabularyHook']
