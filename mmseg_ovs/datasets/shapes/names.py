"""Class names of the shapes set and the combinations held out of training.

Every name is a combination (``red star``, ``striped blue ground``), so a model which
reads text can know a class it has never seen from its parts. The split is a Latin
square: every colour, shape and texture occurs in training, but not every pair.
"""

from __future__ import annotations

COLOURS = ('red', 'orange', 'yellow', 'green', 'cyan', 'blue', 'purple', 'pink')
SHAPES = ('disc', 'square', 'triangle', 'star', 'cross', 'ring', 'crescent', 'arrow')
TEXTURES = ('plain', 'striped', 'dotted', 'checked', 'wavy')

#: Label of pixels that belong to no class (clutter strokes).
IGNORE_LABEL = 255


def thing_name(colour: str, shape: str) -> str:
    """Class name of a thing, e.g. ``red star``."""
    return f'{colour} {shape}'


def stuff_name(texture: str, colour: str) -> str:
    """Class name of a ground, e.g. ``striped blue ground``."""
    return f'{texture} {colour} ground'


def _thing_held_out(colour: int, shape: int) -> bool:
    # 3 is coprime with 8: one cell in every row and every column.
    return (3 * colour + shape) % 8 == 5


def _stuff_held_out(texture: int, colour: int) -> bool:
    # One texture of every colour; one or two colours of every texture.
    return (texture + 2 * colour) % 5 == 3


#: (colour, shape) of the labels 0..63 and (texture, colour) of the labels 64..103.
THINGS = tuple((c, s) for c in COLOURS for s in SHAPES)
STUFF = tuple((t, c) for t in TEXTURES for c in COLOURS)

UNSEEN_THINGS = tuple(
    (colour, shape)
    for i, colour in enumerate(COLOURS)
    for j, shape in enumerate(SHAPES)
    if _thing_held_out(i, j)
)
UNSEEN_STUFF = tuple(
    (texture, colour)
    for i, texture in enumerate(TEXTURES)
    for j, colour in enumerate(COLOURS)
    if _stuff_held_out(i, j)
)
SEEN_THINGS = tuple(pair for pair in THINGS if pair not in UNSEEN_THINGS)
SEEN_STUFF = tuple(pair for pair in STUFF if pair not in UNSEEN_STUFF)

THING_CLASSES = tuple(thing_name(*pair) for pair in THINGS)
STUFF_CLASSES = tuple(stuff_name(*pair) for pair in STUFF)
#: Class name of every label, 104 in all.
CLASSES = THING_CLASSES + STUFF_CLASSES
UNSEEN_CLASSES = tuple(thing_name(*pair) for pair in UNSEEN_THINGS) + tuple(
    stuff_name(*pair) for pair in UNSEEN_STUFF
)
SEEN_CLASSES = tuple(name for name in CLASSES if name not in UNSEEN_CLASSES)

#: Label of every class name.
LABELS = {name: label for label, name in enumerate(CLASSES)}
