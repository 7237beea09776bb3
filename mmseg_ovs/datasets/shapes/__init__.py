"""The embedded data set: named things over named grounds, made from a seed."""

from .captions import describe_scene
from .colours import make_palette
from .names import (
    CLASSES,
    IGNORE_LABEL,
    SEEN_CLASSES,
    STUFF_CLASSES,
    THING_CLASSES,
    UNSEEN_CLASSES,
)
from .render import render_scene
from .scene import SIZE, SPLITS, Scene, compose_scene
from .writer import DEFAULT_SIZES, write_shapes

__all__ = [
    'CLASSES',
    'DEFAULT_SIZES',
    'IGNORE_LABEL',
    'SEEN_CLASSES',
    'SIZE',
    'SPLITS',
    'STUFF_CLASSES',
    'THING_CLASSES',
    'UNSEEN_CLASSES',
    'Scene',
    'compose_scene',
    'describe_scene',
    'make_palette',
    'render_scene',
    'write_shapes',
]
