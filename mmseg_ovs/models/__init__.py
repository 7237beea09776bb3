"""Models: backbones, text encoders, heads, post-processors, segmentors, losses."""

from . import (
    backbones,
    data_preprocessors,
    decode_heads,
    losses,
    necks,
    postprocessors,
    segmentors,
    text_encoders,
)

__all__ = [
    'backbones',
    'data_preprocessors',
    'decode_heads',
    'losses',
    'necks',
    'postprocessors',
    'segmentors',
    'text_encoders',
]
