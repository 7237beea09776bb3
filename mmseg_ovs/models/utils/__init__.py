"""Helpers of the models: checkpoints, windows, similarity, chunked arg max."""

from .checkpoint import (
    CheckpointError,
    PretrainedModule,
    describe_mismatch,
    load_pretrained,
    read_state_dict,
)
from .resize_argmax import RunningArgmax, resize_argmax, rows_per_chunk
from .similarity import cosine_similarity_map
from .windows import Window, merge_windows, split_windows, window_grid

__all__ = [
    'CheckpointError',
    'PretrainedModule',
    'RunningArgmax',
    'Window',
    'cosine_similarity_map',
    'describe_mismatch',
    'load_pretrained',
    'merge_windows',
    'read_state_dict',
    'resize_argmax',
    'rows_per_chunk',
    'split_windows',
    'window_grid',
]
