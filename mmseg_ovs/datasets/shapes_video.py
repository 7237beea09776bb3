"""Moving scenes: the things of a scene drift over its grounds, under unsteady light."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .shapes import SIZE, Scene, compose_scene, render_scene
from .shapes.scene import Thing


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        image: What a camera sees, uint8 RGB (112, 112, 3).
        clean: The same without noise and flicker of the light.
        labels: uint8 (112, 112), as of :func:`render_scene`.
    """

    image: np.ndarray
    clean: np.ndarray
    labels: np.ndarray


def render_video(
    seed: int,
    split: str,
    index: int,
    frames: int,
    speed: float = 1.5,
    noise: float = 14.0,
    flicker: float = 0.03,
) -> Iterator[Frame]:
    """Draw a scene whose things move straight on and bounce off the edges.

    Args:
        seed, split, index: The scene, see :func:`compose_scene`.
        frames: How many.
        speed: Highest speed of a thing down and across, in pixels a frame.
        noise: Standard deviation of each pixel, of 255, on top of what all images of
            the set have.
        flicker: Standard deviation of the brightness, as a share of it.
    """
    scene = compose_scene(seed, split, index)
    rng = np.random.default_rng([seed, index, frames])
    speeds = rng.uniform(-speed, speed, (len(scene.things), 2))
    for number in range(frames):
        clean, labels = render_scene(_moved(scene, speeds * number))
        light = 1 + flicker * rng.standard_normal()
        image = clean * light + noise * rng.standard_normal(clean.shape)
        yield Frame(np.clip(np.rint(image), 0, 255).astype(np.uint8), clean, labels)


def _moved(scene: Scene, steps: np.ndarray) -> Scene:
    things = zip(scene.things, steps, strict=True)
    return replace(scene, things=tuple(_bounced(*thing) for thing in things))


def _bounced(thing: Thing, step: np.ndarray) -> Thing:
    """The thing after a step, reflected where its centre would leave the inside."""
    room = SIZE - 2 * thing.radius
    place = (np.array(thing.centre) + step - thing.radius) % (2 * room)
    place = np.minimum(place, 2 * room - place) + thing.radius
    return replace(thing, centre=tuple(place.tolist()))
