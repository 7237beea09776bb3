"""Third stage: boxes of each image's nouns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .filtering import read_nouns
from .images import read_image
from .shards import WHOLE, Item, Part, describe_shard, write_shard

BOXES = 'boxes'


@dataclass(frozen=True)
class Detection:
    """A box of one of the nouns that were asked for."""

    noun: int
    """Place of the noun in the question."""
    score: float
    box: tuple[float, float, float, float]
    """Left, top, right, bottom in pixels."""


class Detector(Protocol):
    """Finds nouns in an image."""

    setting: Mapping[str, Any]
    """JSON-like facts that its answers depend on, weights included."""

    def __call__(self, image: np.ndarray, nouns: Sequence[str]) -> list[Detection]:
        """Boxes of ``nouns`` in an RGB image (H, W, 3), uint8."""


def find_boxes(out: Path, images: Path, detector: Detector, part: Part = WHOLE) -> Path:
    """Write the boxes of every image's nouns.

    A record holds ``size`` (height, width) and ``boxes``, dicts of ``noun`` (its id in
    ``nouns.json``), ``score`` and ``box``.

    Args:
        out: Folder of the whole run.
        images: Folder of the images.
        detector: See :class:`Detector`.
        part: The part of the images to do.

    Returns:
        The shard.
    """
    content = read_nouns(out)
    names = {noun['id']: noun['name'] for noun in content['nouns']}
    items = [
        Item(
            image_id=image['id'],
            file_name=image['file_name'],
            payload=dict(nouns=[[number, names[number]] for number in image['nouns']]),
        )
        for image in content['images']
    ]

    def make(item: Item) -> dict:
        image = read_image(images, item.file_name)
        numbers = [number for number, _ in item.payload['nouns']]
        found = detector(image, [name for _, name in item.payload['nouns']])
        return dict(
            size=list(image.shape[:2]),
            boxes=[
                dict(
                    noun=numbers[detection.noun],
                    score=round(detection.score, 4),
                    box=[round(value, 2) for value in detection.box],
                )
                for detection in found
            ],
        )

    own = part.of(items)
    setting = dict(content['setting'], **detector.setting)
    facts = describe_shard(BOXES, part, len(own), setting)
    return write_shard(out / BOXES, facts, own, make)
