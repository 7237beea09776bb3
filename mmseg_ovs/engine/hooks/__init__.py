"""Hooks."""

from .checkpoint_guard_hook import CheckpointGuardHook
from .vocabulary_hook import VocabularyHook

__all__ = ['CheckpointGuardHook', 'VocabularyHook']
