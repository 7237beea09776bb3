"""What prediction leaves on disk: sheets to look at, label maps and their legend."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..structures.vocabulary import Vocabulary
from ..utils import replacing
from ..visualization import make_palette
from .image_sources import ImageSource, output_names


class ResultFolder:
    """Writes ``vis/NAME.png``, ``pred/NAME.png`` and ``legend.json``.

    NAME is the picture's file name; pictures of one name get ``NAME_2`` and so on.
    Label maps are grey PNG of 8 bits, or of 16 bits with more than 255 classes.
    ``legend.json`` holds name and colour of each label and the source of each NAME.

    Args:
        folder: Made if it does not exist.
        sources: The pictures that will be written, in order.
        vocabulary: Their classes.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        sources: Sequence[ImageSource],
        vocabulary: Vocabulary,
    ) -> None:
        self.folder = Path(folder)
        self._names = iter(output_names(sources))
        # As in mmseg, 255 stays free for "ignore".
        self._dtype = np.uint8 if vocabulary.num_classes <= 255 else np.uint16
        colours = make_palette(vocabulary.num_classes)
        legend = dict(
            classes=[
                dict(label=label, name=name, colour=colour)
                for label, (name, colour) in enumerate(
                    zip(vocabulary.classes, colours, strict=True)
                )
            ],
            background=vocabulary.background,
            images=dict(
                zip(output_names(sources), (s.name for s in sources), strict=True)
            ),
        )
        with replacing(self.folder / 'legend.json') as temporary:
            text = json.dumps(legend, ensure_ascii=False, indent=1)
            temporary.write_text(text + '\n', encoding='utf-8')

    def write(self, labels: np.ndarray | None, sheet: np.ndarray | None) -> None:
        """Write the next picture's labels (H, W) and sheet (RGB); None: it failed."""
        name = next(self._names)
        if labels is None:
            return
        for part, array in (('pred', labels.astype(self._dtype)), ('vis', sheet)):
            with replacing(self.folder / part / f'{name}.png') as temporary:
                Image.fromarray(array).save(temporary)
