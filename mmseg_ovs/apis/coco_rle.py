"""Label maps as COCO's results: a run-length mask for each class of an image."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmseg_ovs.utils import replacing


def coco_rle(
    labels: np.ndarray, classes: Sequence[str], scores: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """The classes of an image as entries of a COCO results file.

    Args:
        labels: Label map (H, W).
        classes: Name of each label.
        scores: Scores of the classes (N, H, W), if they were kept.

    Returns:
        For each label that is there ``category_id`` (the label), ``category_name``,
        ``segmentation`` (``size`` and compressed ``counts``), ``area`` in pixels,
        ``bbox`` ``[x, y, width, height]`` and, with ``scores``, ``score``, the mean
        score of the class within its mask.
    """
    labels = np.asfortranarray(labels)  # the masks are read column by column
    entries = []
    for label in np.unique(labels).tolist():
        mask = labels == label
        rle = coco_mask.encode(mask.view(np.uint8))
        entry = dict(
            category_id=label,
            category_name=classes[label],
            segmentation=dict(size=rle['size'], counts=rle['counts'].decode('ascii')),
            area=int(coco_mask.area(rle)),
            bbox=coco_mask.toBbox(rle).tolist(),
        )
        if scores is not None:
            entry['score'] = float(scores[label][mask].mean())
        entries.append(entry)
    return entries


class CocoRleFile:
    """A JSON list written entry by entry, which appears when it is closed.

    Args:
        path: Where to. Missing folders are made.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._stack = ExitStack()
        temporary = self._stack.enter_context(replacing(path))
        self._stream = self._stack.enter_context(temporary.open('w', encoding='utf-8'))
        self._separator = '[\n'

    def add(self, entries: Iterable[dict[str, Any]]) -> None:
        """Append entries."""
        for entry in entries:
            self._stream.write(self._separator + json.dumps(entry, ensure_ascii=False))
            self._separator = ',\n'

    def close(self) -> None:
        """End the list and give the file its name."""
        with self._stack:
            self._stream.write('[]\n' if self._separator == '[\n' else '\n]\n')
