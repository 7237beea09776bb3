"""Outlines of masks along the edges of pixels, exact and with their holes."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np


class Outline(NamedTuple):
    """A connected region.

    Attributes:
        shell: Its corners (K, 2) as x, y in pixels from the image's top left corner,
            clockwise.
        holes: Those of each hole, the other way round.
    """

    shell: np.ndarray
    holes: list[np.ndarray]

    def as_one_ring(self) -> np.ndarray:
        """Shell and holes (K, 2) as one ring, for formats without holes.

        The ring goes to each hole and back on the same line, which fills (even-odd as
        well as by winding) count twice or not at all.
        """
        start = self.shell[:1]
        parts = [self.shell, start] if self.holes else [self.shell]
        for hole in self.holes:
            parts += [hole, hole[:1], start]
        return np.concatenate(parts[:-1] if self.holes else parts)


def outlines(mask: np.ndarray) -> list[Outline]:
    """The outlines of a mask's regions.

    Pixels that touch at a corner only are two regions. A pixel (x, y) covers the
    square from (x, y) to (x + 1, y + 1), so areas are exact.

    Args:
        mask: bool (H, W).
    """
    rings = _rings(mask)
    _, regions = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    found: dict[int, Outline] = {}
    holes = []
    for ring in rings:
        x, y = ring[0]  # the top left corner
        inside = y < mask.shape[0] and x < mask.shape[1] and mask[y, x]
        if inside:
            found[int(regions[y, x])] = Outline(ring, [])
        else:
            turned = np.concatenate([ring[:1], ring[:0:-1]])
            holes.append((int(regions[y - 1, x]), turned))
    for region, ring in holes:
        found[region].holes.append(ring)
    return [found[region] for region in sorted(found)]


def _rings(mask: np.ndarray) -> list[np.ndarray]:
    """Rings (K, 2) of corners x, y, clockwise from the top left, of all borders.

    In every row of grid points, corners in order of x are the ends of horizontal edges,
    two by two; in every column, those of vertical edges. A point where two pixels touch
    at their corners is two corners.
    """
    pixels = np.pad(mask, 1)
    a, b, c, d = pixels[:-1, :-1], pixels[:-1, 1:], pixels[1:, :-1], pixels[1:, 1:]
    touching = (a == d) & (b == c) & (a != b)
    odd = a ^ b ^ c ^ d
    y, x = np.nonzero(odd | touching)
    twice = touching[y, x]
    swapped = twice & ~a[y, x]
    y, x, swapped = (np.repeat(values, 1 + twice) for values in (y, x, swapped))
    # The first of two corners at a point ends the edge from the left. It also ends the
    # edge from above if the top left pixel is in the mask; else the second does.
    count = len(x)
    second = np.zeros(count, bool)
    second[1:] = (x[1:] == x[:-1]) & (y[1:] == y[:-1])
    across = np.arange(count) ^ 1  # in order of y, x already
    order = np.lexsort((second ^ swapped, y, x))
    down = np.empty(count, np.int64)
    down[order] = order[np.arange(count) ^ 1]

    points = np.stack([x, y], axis=1)
    rings, seen = [], [False] * count
    next_across, next_down = across.tolist(), down.tolist()
    for start in range(count):
        if seen[start]:
            continue
        ring, corner = [], start
        while not seen[corner]:
            other = next_across[corner]
            seen[corner] = seen[other] = True
            ring += [corner, other]
            corner = next_down[other]
        rings.append(points[ring])
    return rings
