"""Hooks."""

from .checkpoint_guard_hook import CheckpointGuardHook
from .protocol_hook import ProtocolHook
from .vocabulary_hook import VocabularyHook

__all__ = ['CheckpointGuardHook', 'ProtocolHook', 'VocabularyHook']
