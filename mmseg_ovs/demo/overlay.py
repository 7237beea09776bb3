"""From a result to what the page shows and offers for download."""

from __future__ import annotations

import gzip
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from gradio import FileData
from gradio.utils import get_upload_folder
from PIL import Image

from mmseg_ovs.apis import Prediction
from mmseg_ovs.visualization.sheet import LARGEST_PANEL


def new_folder() -> Path:
    """Where Gradio finds the files of a result, and deletes them later."""
    parent = Path(get_upload_folder())
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent))


def make_view(prediction: Prediction, folder: Path) -> dict[str, Any]:
    """What ``result.js`` shows, reduced to at most ``LARGEST_PANEL`` pixels a side.

    Args:
        prediction: The result.
        folder: For its files.

    Returns:
        ``classes``: label, name, share of all pixels and colour ``[R, G, B]`` of each
        class present, the largest first, and whether it is the background, which stays
        ``clear``. The files ``mask``, ``overlay`` and, if scores were kept, ``scores``
        (see :func:`_write_files`). For the view: ``width``, ``height``, the file
        ``photo`` and the file ``pixels``, gzip of uint16 with the label of each pixel
        and then its score, where 0 and 65535 stand for the numbers ``score_range``.
    """
    labels, names = prediction.labels, prediction.names
    classes = []
    for name, share in prediction.shares.items():
        label = names.index(name)
        colour = prediction.palette[label].tolist()
        clear = label == prediction.vocabulary.background_class
        entry = dict(label=label, name=name, share=share, colour=colour, clear=clear)
        classes.append(entry)
    scale = min(1, LARGEST_PANEL / max(labels.shape))
    height, width = (max(1, round(side * scale)) for side in labels.shape)
    rows, columns = np.indices((height, width), sparse=True)
    rows = rows * labels.shape[0] // height
    columns = columns * labels.shape[1] // width
    labels = labels[rows, columns]
    planes, score_range = [labels.astype('<u2')], None
    if prediction.has_scores:
        scores = prediction.scores[labels, rows, columns]
        score_range = [float(scores.min()), float(scores.max())]
        steps = np.interp(scores, score_range, (0, 65535))
        planes.append(steps.round().astype('<u2'))
    pixels, photo = folder / 'pixels.gz', folder / 'photo.jpg'
    pixels.write_bytes(gzip.compress(np.stack(planes).tobytes(), 1))
    image = Image.fromarray(prediction.image)
    image.resize((width, height)).save(photo, quality=92)
    files = dict(photo=photo, pixels=pixels, **_write_files(prediction, folder))
    return dict(
        classes=classes,
        width=width,
        height=height,
        score_range=score_range,
        **{
            name: FileData(path=str(path), orig_name=path.name).model_dump()
            for name, path in files.items()
        },
    )


def _write_files(prediction: Prediction, folder: Path) -> dict[str, Path]:
    """Label map (PNG), overlay (JPEG) and scores (``.npz``), in full size."""
    stem = re.sub(r'[^\w-]+', '_', Path(prediction.source.name).stem)[:50] or 'image'
    files = dict(
        mask=folder / f'{stem}-mask.png', overlay=folder / f'{stem}-overlay.jpg'
    )
    prediction.save(files['mask'])
    prediction.plot().save(files['overlay'], quality=92)
    if prediction.has_scores:
        files['scores'] = folder / f'{stem}-scores.npz'
        scores = prediction.scores.astype(np.float16)
        np.savez(files['scores'], scores=scores, names=prediction.names)
    return files
