"""Drawing: a scene becomes an image and its exact label map."""

from __future__ import annotations

import numpy as np

from .geometry import SHAPE_DISTANCE, segment_distance
from .names import IGNORE_LABEL, LABELS
from .scene import SIZE, Border, Ground, Scene, Stroke, Thing
from .textures import PATTERN

_OUTLINE = 1.6  # pixels, inside the shape, so it carries the thing's label
_NOISE = 5.0  # standard deviation, of 255
_STROKE_SEGMENTS = 8


def _cover(distance: np.ndarray) -> np.ndarray:
    """Share of a pixel inside the shape, from the signed distance of its centre."""
    return np.clip(0.5 - distance, 0, 1)[..., None]


def _turn(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


def _ground_colour(ground: Ground, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(H, W, 3) colours of a ground that fills the image."""
    u, v = _turn(x / ground.period, y / ground.period, ground.angle)
    pattern = PATTERN[ground.texture](u + ground.phase[0], v + ground.phase[1])
    share = (0.5 + 0.5 * pattern)[..., None]
    return share * np.array(ground.light) + (1 - share) * np.array(ground.dark)


def _border_distance(border: Border, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    u, v = _turn(x - SIZE / 2, y - SIZE / 2, border.angle)
    wave = np.sin(2 * np.pi * u / border.wavelength + border.phase)
    return v - border.offset - border.amplitude * wave


def _stroke_distance(stroke: Stroke, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    a, b, c = (np.array(point) for point in stroke.points)
    t = np.linspace(0, 1, _STROKE_SEGMENTS + 1)[:, None]
    curve = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    distances = [
        segment_distance(x, y, start, end)
        for start, end in zip(curve[:-1], curve[1:], strict=True)
    ]
    return np.min(distances, axis=0) - stroke.half_width


def _thing_distance(thing: Thing, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance in pixels (to first order where the shape is stretched)."""
    u, v = _turn(x - thing.centre[0], y - thing.centre[1], thing.angle)
    u = u / (thing.radius * thing.stretch)
    v = v * thing.stretch / thing.radius
    u = -u if thing.mirrored else u
    return thing.radius * SHAPE_DISTANCE[thing.shape](u, v)


def _thing_colour(thing: Thing, light: tuple[float, float], distance, x, y):
    """(h, w, 3) colours: shading across the thing, dark outline along its edge."""
    slope = (x - thing.centre[0]) * light[0] + (y - thing.centre[1]) * light[1]
    shade = 1 + 0.14 * slope / thing.radius
    inner = _cover(distance + _OUTLINE)
    return np.array(thing.rgb) * shade[..., None] * (0.35 + 0.65 * inner)


def _window(thing: Thing) -> tuple[slice, slice]:
    """Rows and columns that hold the thing, its antialiased edge included."""
    reach = 1.35 * thing.radius + 2
    x, y = thing.centre
    return tuple(
        slice(max(int(middle - reach), 0), min(int(middle + reach) + 1, SIZE))
        for middle in (y, x)
    )


def render_scene(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Draw a scene.

    A label is decided by the geometry at the pixel's centre, not by the drawn colour.

    Returns:
        uint8 RGB image (112, 112, 3) and uint8 labels (112, 112): the class, or 255
        on grey strokes.
    """
    centres = np.arange(SIZE) + 0.5
    y, x = np.meshgrid(centres, centres, indexing='ij')
    canvas = _ground_colour(scene.grounds[0], x, y)
    labels = np.full((SIZE, SIZE), LABELS[scene.grounds[0].name], dtype=np.uint8)
    if scene.border is not None:
        distance = _border_distance(scene.border, x, y)
        other = _ground_colour(scene.grounds[1], x, y)
        canvas += _cover(distance) * (other - canvas)
        labels[distance < 0] = LABELS[scene.grounds[1].name]
    for stroke in scene.strokes:
        distance = _stroke_distance(stroke, x, y)
        canvas += _cover(distance) * (stroke.grey - canvas)
        labels[distance < 0] = IGNORE_LABEL
    for thing in scene.things:
        at = _window(thing)
        distance = _thing_distance(thing, x[at], y[at])
        colour = _thing_colour(thing, scene.light, distance, x[at], y[at])
        canvas[at] += _cover(distance) * (colour - canvas[at])
        labels[at][distance < 0] = LABELS[thing.name]
    rng = np.random.default_rng(scene.noise_seed)
    canvas += _NOISE * rng.standard_normal(canvas.shape, dtype=np.float32)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8), labels
