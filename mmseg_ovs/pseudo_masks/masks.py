"""Fourth stage: one mask for each noun that has boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmseg_ovs.utils.rle import encode_mask

from .boxes import BOXES
from .errors import UnreadableImageError
from .images import read_image
from .shards import WHOLE, Item, Part, describe_shard, open_shard, write_shard

MASKS = 'masks'


class Segmenter(Protocol):
    """Draws what is in a box."""

    setting: Mapping[str, Any]
    """JSON-like facts that its answers depend on, weights included."""

    def __call__(
        self, image: np.ndarray, boxes: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """One mask (H, W), bool, for each group of boxes: the union of theirs.

        Args:
            image: RGB image (H, W, 3), uint8.
            boxes: Groups (n, 4) of left, top, right, bottom in pixels, float32.
        """


def draw_masks(
    out: Path, images: Path, segmenter: Segmenter, part: Part = WHOLE
) -> Path:
    """Write the masks of every image's nouns.

    A record holds ``size`` and ``masks``, dicts of ``noun`` (its id), ``score`` (of its
    best box) and ``counts`` (compressed run lengths). Empty masks are left out.

    Args:
        out: Folder of the whole run; the shard of boxes of the same part is there.
        images: Folder of the images.
        segmenter: See :class:`Segmenter`.
        part: The part of the images to do.

    Returns:
        The shard.
    """
    facts, records = open_shard(out / BOXES / part.file_name, BOXES)
    items = [
        Item(
            image_id=record['image_id'],
            file_name=record['file_name'],
            payload={k: record[k] for k in ('size', 'boxes', 'error') if k in record},
        )
        for record in records
    ]

    def make(item: Item) -> dict:
        if 'error' in item.payload:
            raise UnreadableImageError(item.payload['error'])
        image = read_image(images, item.file_name)
        size = list(image.shape[:2])
        if size != item.payload['size']:
            raise UnreadableImageError(
                f'is {size[0]} x {size[1]} now, and was {item.payload["size"][0]} x '
                f'{item.payload["size"][1]} when its boxes were found; delete their '
                'shard to find them again'
            )
        groups: dict[int, list[dict]] = {}
        for box in item.payload['boxes']:
            groups.setdefault(box['noun'], []).append(box)
        boxes = [np.float32([b['box'] for b in group]) for group in groups.values()]
        drawn = segmenter(image, boxes) if boxes else []
        return dict(
            size=size,
            masks=[
                dict(
                    noun=noun,
                    score=max(box['score'] for box in group),
                    counts=encode_mask(mask),
                )
                for (noun, group), mask in zip(groups.items(), drawn, strict=True)
                if mask.any()
            ],
        )

    setting = dict(facts['setting'], **segmenter.setting)
    facts = describe_shard(MASKS, part, len(items), setting)
    return write_shard(out / MASKS, facts, items, make)
