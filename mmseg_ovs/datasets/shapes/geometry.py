"""Signed distances of the eight shapes and of clutter strokes.

A distance is negative inside. Shapes are upright, centred on the origin, with y down
and a circumscribed circle of about radius 1; the caller turns and scales the points.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def _circle(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    return np.hypot(x, y) - radius


def _box(x: np.ndarray, y: np.ndarray, half_w: float, half_h: float) -> np.ndarray:
    dx, dy = np.abs(x) - half_w, np.abs(y) - half_h
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0)


def segment_distance(
    x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray
) -> np.ndarray:
    """Distance of points to the segment from ``a`` to ``b``; shape of ``x``."""
    ab = b - a
    along = ((x - a[0]) * ab[0] + (y - a[1]) * ab[1]) / (ab @ ab)
    along = np.clip(along, 0, 1)
    return np.hypot(x - a[0] - along * ab[0], y - a[1] - along * ab[1])


def polygon_distance(x: np.ndarray, y: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Signed distance to a simple polygon, convex or not.

    Args:
        x, y: Coordinates of the points, of one shape.
        vertices: (V, 2) corners in order.

    Returns:
        Distances of the shape of ``x``, negative inside (even-odd rule).
    """
    distance = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for a, b in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
        distance = np.minimum(distance, segment_distance(x, y, a, b))
        if a[1] != b[1]:
            crosses = (a[1] <= y) != (b[1] <= y)
            inside ^= crosses & (x < a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1]))
    return np.where(inside, -distance, distance)


def _radial_polygon(radii: tuple[float, ...], count: int, drop: float) -> np.ndarray:
    """Corners at alternating ``radii``, the first on top, moved down by ``drop``."""
    turn = np.arange(count) * (2 * np.pi / count)
    radius = np.resize(radii, count)
    return np.stack([radius * np.sin(turn), drop - radius * np.cos(turn)], axis=1)


_TRIANGLE = _radial_polygon((1.1,), 3, drop=0.2)
_STAR = _radial_polygon((1.1, 0.46), 10, drop=0.05)
_ARROW = np.array(
    [
        (0, -1),
        (0.9, -0.1),
        (0.36, -0.1),
        (0.36, 0.95),
        (-0.36, 0.95),
        (-0.36, -0.1),
        (-0.9, -0.1),
    ]
)


def _disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _circle(x, y, 0.88)


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _box(x, y, 0.78, 0.78)


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return polygon_distance(x, y, _TRIANGLE)


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return polygon_distance(x, y, _STAR)


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.minimum(_box(x, y, 0.92, 0.3), _box(x, y, 0.3, 0.92))


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(x, y) - 0.72) - 0.22


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(_circle(x - 0.15, y, 0.95), -_circle(x - 0.63, y, 0.72))


def _arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return polygon_distance(x, y, _ARROW)


#: Signed distance function of every shape name.
SHAPE_DISTANCE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = dict(
    disc=_disc,
    square=_square,
    triangle=_triangle,
    star=_star,
    cross=_cross,
    ring=_ring,
    crescent=_crescent,
    arrow=_arrow,
)
