"""Whether a label map has the size and the position of its image."""

from __future__ import annotations

import mmap
import os

from PIL import Image

_ORIENTATION = 0x0112  # EXIF tag
_QUARTER_TURNS = (5, 6, 7, 8)


def check_label_size(
    label_shape: tuple[int, int],
    label_path: str | os.PathLike,
    image_shape: tuple[int, int],
    image_path: str | os.PathLike | None,
    labels_follow_exif: bool = False,
) -> None:
    """Compare a label map with its image as loaded.

    OpenCV turns images by their EXIF orientation. A label that was drawn without the
    turn has another size after a quarter turn of an oblong image. In all other cases
    the sizes are equal, and only the user knows how the label was drawn.

    Args:
        label_shape: (H, W) of the label as loaded.
        label_path: Its file.
        image_shape: (H, W) of the image as loaded, before any transform.
        image_path: Its file, None if unknown.
        labels_follow_exif: Labels were drawn on the turned images.

    Raises:
        ValueError: The sizes differ; or they cannot tell whether the label was drawn
            on the turned image.
    """
    turn, stored = _orientation(image_path)
    if turn in _QUARTER_TURNS and tuple(image_shape) == stored != stored[::-1]:
        turn = 1  # loaded without the turn (color_ignore_orientation)
    fits = tuple(label_shape) == tuple(image_shape)
    square = image_shape[0] == image_shape[1]
    if fits and (turn == 1 or labels_follow_exif):
        return
    if fits and turn in _QUARTER_TURNS and not square:
        return
    exif = (
        f' The image has EXIF orientation {turn}, by which OpenCV turns or mirrors it '
        'when it loads it.'
    )
    if fits:
        raise ValueError(
            f'label map {label_path} may be in another position than its image '
            f'{image_path}.{exif} The size does not show whether the label was drawn '
            'on the image as loaded. If yes (also with LoadImageFromFile(color_type='
            '"color_ignore_orientation"), which does not turn it), set '
            'LoadLabelMap(labels_follow_exif=True). '
            'If no, save the image without the tag'
        )
    raise ValueError(
        f'label map {label_path} has {label_shape[1]} x {label_shape[0]} pixels (width '
        f'x height), its image {image_path} has {image_shape[1]} x {image_shape[0]} as '
        f'loaded.{"" if turn == 1 else exif} Labels need the size of their image'
    )


def _orientation(path: str | os.PathLike | None) -> tuple[int, tuple[int, int]]:
    """EXIF orientation of an image file, 1 (upright) if unknown; (H, W) before it."""
    upright = 1, (0, 0)
    if path is None or not os.path.isfile(path):
        return upright
    try:
        with Image.open(path) as image:
            if image.format == 'PNG' and not _has_exif_chunk(path):
                return upright  # Pillow would decode all of it to look for the chunk
            turn = image.getexif().get(_ORIENTATION, 1)
            # 0: undefined
            return turn if turn in range(2, 9) else 1, image.size[::-1]
    except Exception:  # of any decoder: the image was loaded already
        return upright


def _has_exif_chunk(path: str | os.PathLike) -> bool:
    with (
        open(path, 'rb') as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(b'eXIf') >= 0
