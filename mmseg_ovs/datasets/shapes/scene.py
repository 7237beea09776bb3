"""Composition: what is in an image and where, drawn from (seed, split, index)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .colours import RGB, tint
from .names import (
    SEEN_STUFF,
    SEEN_THINGS,
    UNSEEN_STUFF,
    UNSEEN_THINGS,
    stuff_name,
    thing_name,
)

#: Side of an image in pixels.
SIZE = 112
#: The number of a split seeds its images: do not reorder.
SPLITS = ('train', 'val', 'test')
#: Range of the circumscribed radius in pixels by the number of things.
_RADIUS = {2: (20, 27), 3: (17, 23), 4: (15, 20)}
_UNSEEN_SHARE = 0.5

Pair = tuple[str, str]
Vector = tuple[float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Thing:
    """A shape: centre and circumscribed radius in pixels, angle in radians."""

    colour: str
    shape: str
    rgb: Colour
    centre: Vector
    radius: float
    stretch: float
    angle: float
    mirrored: bool

    @property
    def name(self) -> str:
        return thing_name(self.colour, self.shape)


@dataclass(frozen=True)
class Ground:
    """A texture: period in pixels, phase in periods, angle in radians."""

    texture: str
    colour: str
    light: Colour
    dark: Colour
    period: float
    phase: Vector
    angle: float

    @property
    def name(self) -> str:
        return stuff_name(self.texture, self.colour)


@dataclass(frozen=True)
class Border:
    """Wavy line between two grounds, in pixels and radians."""

    angle: float
    offset: float
    amplitude: float
    wavelength: float
    phase: float


@dataclass(frozen=True)
class Stroke:
    """Unlabelled clutter: a quadratic curve through three control points (pixels)."""

    points: tuple[Vector, Vector, Vector]
    half_width: float
    grey: float


@dataclass(frozen=True)
class Scene:
    """All that is needed to draw, label and describe one image."""

    grounds: tuple[Ground, ...]
    border: Border | None
    strokes: tuple[Stroke, ...]
    things: tuple[Thing, ...]
    light: Vector
    noise_seed: int


def _draw_pair(
    rng: np.random.Generator, seen: tuple[Pair, ...], unseen: tuple[Pair, ...]
) -> Callable[[Callable[[Pair], bool]], Pair]:
    """Make a drawer of pairs which satisfy a wish, or of any if none does.

    Seen or unseen is decided before the wish, so wishes do not change the share.
    """

    def draw(wish: Callable[[Pair], bool]) -> Pair:
        pool = unseen if unseen and rng.random() < _UNSEEN_SHARE else seen
        pool = [pair for pair in pool if wish(pair)] or pool
        return pool[rng.integers(len(pool))]

    return draw


def _draw_things(rng: np.random.Generator, held_out: bool) -> list[Pair]:
    """2 to 4 (colour, shape) pairs, many of which share one part with an earlier one.

    So neither colour alone nor shape alone tells the things of an image apart.
    """
    draw = _draw_pair(rng, SEEN_THINGS, UNSEEN_THINGS if held_out else ())
    pairs = [draw(lambda pair: True)]
    for _ in range(rng.integers(1, 4)):
        colour, shape = other = pairs[rng.integers(len(pairs))]
        relation = rng.choice(
            ['colour', 'shape', 'same', 'free'], p=[0.32, 0.32, 0.08, 0.28]
        )
        wishes = dict(
            colour=lambda pair, c=colour, s=shape: pair[0] == c and pair[1] != s,
            shape=lambda pair, c=colour, s=shape: pair[0] != c and pair[1] == s,
            same=lambda pair, o=other: pair == o,
            free=lambda pair: True,
        )
        pairs.append(draw(wishes[relation]))
    return pairs


def _draw_stuff(rng: np.random.Generator, held_out: bool) -> list[Pair]:
    """1 or 2 different (texture, colour) pairs; two share a part half of the time."""
    draw = _draw_pair(rng, SEEN_STUFF, UNSEEN_STUFF if held_out else ())
    first = draw(lambda pair: True)
    if rng.random() < 0.5:
        return [first]
    part = rng.integers(2)
    alike = rng.random() < 0.5
    second = draw(
        lambda pair: pair != first and (not alike or pair[part] == first[part])
    )
    return [first] if second == first else [first, second]


def _jitter(rng: np.random.Generator, rgb: np.ndarray, spread: float) -> Colour:
    return tuple(float(v) for v in np.clip(rgb + rng.normal(0, spread, 3), 0, 255))


def _place(rng: np.random.Generator, count: int) -> list[tuple[Vector, float]]:
    """Centres and radii of things that lie inside and hardly touch one another."""
    low, high = _RADIUS[count]
    while True:
        placed: list[tuple[Vector, float]] = []
        for _ in range(60):
            radius = float(rng.uniform(low, high))
            x, y = (float(v) for v in rng.uniform(radius, SIZE - radius, 2))
            if all(
                np.hypot(x - ox, y - oy) > 0.95 * (radius + other)
                for (ox, oy), other in placed
            ):
                placed.append(((x, y), radius))
            if len(placed) == count:
                return placed


def _make_thing(
    rng: np.random.Generator, pair: Pair, centre: Vector, radius: float
) -> Thing:
    colour, shape = pair
    return Thing(
        colour=colour,
        shape=shape,
        rgb=_jitter(rng, np.array(RGB[colour], dtype=np.float64), 7),
        centre=centre,
        radius=radius,
        stretch=float(rng.uniform(0.9, 1.1)),
        angle=float(rng.uniform(-0.3, 0.3)),
        mirrored=bool(rng.random() < 0.5),
    )


def _make_ground(rng: np.random.Generator, pair: Pair) -> Ground:
    texture, colour = pair
    rgb = np.array(_jitter(rng, np.array(RGB[colour], dtype=np.float64), 7))
    # Checks and dots stay near upright: turned checks look like crossed stripes.
    spread = np.pi / 2 if texture in ('striped', 'wavy') else 0.3
    return Ground(
        texture=texture,
        colour=colour,
        light=tuple(tint(rgb, 0.76)),
        dark=tuple(tint(rgb, 0.34)),
        period=float(rng.uniform(10, 14)),
        phase=tuple(float(v) for v in rng.random(2)),
        angle=float(rng.uniform(-spread, spread)),
    )


def _make_border(rng: np.random.Generator) -> Border:
    return Border(
        angle=float(rng.uniform(0, 2 * np.pi)),
        offset=float(rng.uniform(-18, 18)),
        amplitude=float(rng.uniform(3, 8)),
        wavelength=float(rng.uniform(40, 70)),
        phase=float(rng.uniform(0, 2 * np.pi)),
    )


def _make_stroke(rng: np.random.Generator) -> Stroke:
    start = rng.uniform(8, SIZE - 8, 2)
    steps = rng.uniform(-22, 22, (2, 2))
    points = (start, start + steps[0], start + steps[0] + steps[1])
    return Stroke(
        points=tuple((float(x), float(y)) for x, y in points),
        half_width=float(rng.uniform(1.0, 1.8)),
        grey=float(rng.uniform(90, 160)),
    )


def compose_scene(seed: int, split: str, index: int) -> Scene:
    """Compose one image; the same arguments always give the same scene.

    Args:
        seed: Seed of the whole set, not negative.
        split: ``train`` (seen combinations only), ``val`` or ``test`` (half of the
            combinations unseen).
        index: Number of the image in its split, not negative.

    Raises:
        ValueError: Unknown split, negative seed or negative index.
    """
    if split not in SPLITS:
        raise ValueError(f'unknown split {split!r}: choose one of {", ".join(SPLITS)}')
    if seed < 0 or index < 0:
        raise ValueError(f'seed and index must not be negative: {seed}, {index}')
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    held_out = split != 'train'
    things = _draw_things(rng, held_out)
    stuff = _draw_stuff(rng, held_out)
    return Scene(
        grounds=tuple(_make_ground(rng, pair) for pair in stuff),
        border=_make_border(rng) if len(stuff) == 2 else None,
        strokes=tuple(_make_stroke(rng) for _ in range(rng.integers(0, 4))),
        things=tuple(
            _make_thing(rng, pair, *spot)
            for pair, spot in zip(things, _place(rng, len(things)), strict=True)
        ),
        light=tuple(float(v) for v in rng.uniform(-1, 1, 2)),
        noise_seed=int(rng.integers(2**31)),
    )
