"""Helpers of the models: checkpoints, resizing, windows, similarity."""

from .checkpoint import (
    CheckpointError,
    PretrainedModule,
    describe_mismatch,
    load_pretrained,
    read_state_dict,
)

__all__ = [
    'CheckpointError',
    'PretrainedModule',
    'describe_mismatch',
    'load_pretrained',
    'read_state_dict',
]
