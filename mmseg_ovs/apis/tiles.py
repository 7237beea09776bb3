"""Large images in tiles that overlap, of which the middle is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Box(NamedTuple):
    """A part of an image, in pixels.

    Attributes:
        y, x: Of the first pixel.
        height, width: Its size.
    """

    y: int
    x: int
    height: int
    width: int


class Tile(NamedTuple):
    """A tile.

    Attributes:
        box: What the model sees.
        kept: The part of it whose labels are kept. Those of all tiles cover every pixel
            of the image once.
    """

    box: Box
    kept: Box

    @property
    def inner(self) -> tuple[slice, slice]:
        """``kept`` as rows and columns of the tile."""
        y, x = self.kept.y - self.box.y, self.kept.x - self.box.x
        return slice(y, y + self.kept.height), slice(x, x + self.kept.width)


def tiles(height: int, width: int, size: int, margin: int) -> Iterator[Tile]:
    """Cut an image into tiles, row by row.

    Labels have ``margin`` pixels of image around them except at the image's borders,
    where the tile is moved inwards, so that all tiles are of one size.

    Args:
        height: Of the image.
        width: Of the image.
        size: Side of a tile; images that are smaller are one tile.
        margin: What is not kept on each side, less than half of ``size``.
    """
    if not 0 <= 2 * margin < size:
        raise ValueError(f'a margin of {margin} leaves nothing of tiles of {size}')
    for (y, h), (kept_y, kept_h) in _spans(height, size, margin):
        for (x, w), (kept_x, kept_w) in _spans(width, size, margin):
            yield Tile(Box(y, x, h, w), Box(kept_y, kept_x, kept_h, kept_w))


def _spans(
    length: int, size: int, margin: int
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Start and length of each tile, and of what is kept of it, in one direction."""
    if length <= size:
        return [((0, length), (0, length))]
    step, spans = size - 2 * margin, []
    # The first and the last tile keep their outer margin.
    starts = [0, *range(margin + step, length - margin, step)]
    for start, end in zip(starts, [*starts[1:], length], strict=True):
        first = min(max(0, start - margin), length - size)
        spans.append(((first, size), (start, end - start)))
    return spans
