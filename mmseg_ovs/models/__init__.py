"""Models: backbones, text encoders, heads, post-processors, segmentors, losses."""

from . import (
    backbones,
    decode_heads,
    losses,
    postprocessors,
    segmentors,
    text_encoders,
)

__all__ = [
    'backbones',
    'decode_heads',
    'losses',
    'postprocessors',
    'segmentors',
    'text_encoders',
]
