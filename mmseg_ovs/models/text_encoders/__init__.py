"""Text encoders: class names (or free texts) in, embeddings out."""

from .base import BaseTextEncoder
from .code import CoDeTextEncoder
from .dinotxt import DinoTxtTextEncoder, DinoTxtTextTower
from .embedding_file import EmbeddingFileError, load_embeddings, save_embeddings
from .groupvit import GroupViTTextEncoder, GroupViTTextTower
from .open_clip import (
    OpenCLIPTextEncoder,
    OpenCLIPTextTower,
    build_clip,
    text_state_dict,
)
from .precomputed import PrecomputedTextEncoder, UnknownNameError
from .san import SANTextEncoder
from .templates import TEMPLATE_SETS, get_templates
from .tower import TextTower, TowerTextEncoder

__all__ = [
    'TEMPLATE_SETS',
    'BaseTextEncoder',
    'CoDeTextEncoder',
    'DinoTxtTextEncoder',
    'DinoTxtTextTower',
    'EmbeddingFileError',
    'GroupViTTextEncoder',
    'GroupViTTextTower',
    'OpenCLIPTextEncoder',
    'OpenCLIPTextTower',
    'PrecomputedTextEncoder',
    'SANTextEncoder',
    'TextTower',
    'TowerTextEncoder',
    'UnknownNameError',
    'build_clip',
    'get_templates',
    'load_embeddings',
    'save_embeddings',
    'text_state_dict',
]
