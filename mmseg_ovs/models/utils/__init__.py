"""Helpers of the models: checkpoints, windows, similarity, chunked arg max."""

from .checkpoint import (
    CheckpointError,
    PretrainedModule,
    describe_mismatch,
    find_state_dict,
    load_pretrained,
    read_checkpoint,
    read_state_dict,
    require_finite,
)
from .exporting import is_exporting
from .frozen_teacher import FrozenTeacher
from .images import IMAGENET_MEAN, IMAGENET_STD, Renormalise, resize_images
from .model_checkpoint import (
    complete_state,
    init_own_weights,
    load_model_checkpoint,
    unwrap_model,
)
from .open_clip_models import (
    is_self_contained,
    join_projections,
    named_config,
    pretrained_clip,
)
from .padded_fit import PaddedFit
from .precision import to_float32
from .random_parts import brings_weights, parts_at_random, require_weights
from .resize_argmax import (
    ReachedRows,
    RunningArgmax,
    resize_argmax,
    rows_per_chunk,
)
from .similarity import cosine_similarity_map
from .trainable import Trainable, set_trainable
from .weights_digest import weights_digest
from .windows import Window, merge_windows, split_windows, window_grid

__all__ = [
    'IMAGENET_MEAN',
    'IMAGENET_STD',
    'CheckpointError',
    'FrozenTeacher',
    'PaddedFit',
    'PretrainedModule',
    'Renormalise',
    'ReachedRows',
    'RunningArgmax',
    'Trainable',
    'Window',
    'brings_weights',
    'complete_state',
    'cosine_similarity_map',
    'describe_mismatch',
    'find_state_dict',
    'init_own_weights',
    'is_exporting',
    'is_self_contained',
    'join_projections',
    'load_model_checkpoint',
    'load_pretrained',
    'merge_windows',
    'named_config',
    'parts_at_random',
    'pretrained_clip',
    'read_checkpoint',
    'read_state_dict',
    'require_finite',
    'require_weights',
    'resize_argmax',
    'resize_images',
    'rows_per_chunk',
    'set_trainable',
    'split_windows',
    'to_float32',
    'unwrap_model',
    'weights_digest',
    'window_grid',
]
