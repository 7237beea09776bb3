"""One English sentence that names everything visible in a scene, with counts."""

from __future__ import annotations

from collections import Counter

from .scene import Scene

_COUNTS = {2: 'two', 3: 'three', 4: 'four'}


def _counted(name: str, count: int) -> str:
    if count == 1:
        return f'{"an" if name[0] in "aeiou" else "a"} {name}'
    return f'{_COUNTS[count]} {name}{"es" if name.endswith("s") else "s"}'


def _listed(phrases: list[str]) -> str:
    *first, last = phrases
    return f'{", ".join(first)} and {last}' if first else last


def describe_scene(scene: Scene) -> str:
    """Caption such as ``two red stars and a blue ring over striped green ground``."""
    counts = Counter(thing.name for thing in scene.things)
    things = _listed([_counted(name, count) for name, count in counts.items()])
    return f'{things} over {_listed([ground.name for ground in scene.grounds])}'
