"""How much work images are: their size in the model, windows, and the time of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from mmseg_ovs.composition.compose import is_resize
from mmseg_ovs.composition.data_files import innermost_dataset
from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import OpenVocabError, image_formats

from .image_sources import ImageSource


class SizeError(OpenVocabError):
    """A size that the model would not see."""


# Fewer windows are done before an estimate is worth reading.
_LARGE = 20
# Images are sampled beyond this number: opening every file would take seconds.
_SAMPLED = 200


def inference_pipeline(cfg: Config) -> list[dict]:
    """The transforms of a config for images without labels.

    Those of its test data; of a model without data its ``test_pipeline``, which is
    added if there is none.
    """
    dataset = innermost_dataset((cfg.get('test_dataloader') or {}).get('dataset') or {})
    if dataset.get('pipeline'):
        return dataset['pipeline']
    plain = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    return cfg.setdefault('test_pipeline', plain)


def set_short_side(cfg: Config, side: int) -> None:
    """Let the test pipeline of a config resize images to another shorter side.

    Args:
        cfg: Changed in place.
        side: In pixels.

    Raises:
        SizeError: The pipeline stretches images, or its model stretches them, so that
            a shorter side means nothing.
    """
    test_cfg = cfg.model.get('test_cfg') or {}
    if test_cfg.get('image_size'):
        raise SizeError(
            f'--short-side: the model stretches every image to '
            f'{tuple(test_cfg["image_size"])} (model.test_cfg.image_size)'
        )
    pipeline = inference_pipeline(cfg)
    resizes = [t for t in pipeline if is_resize(t)]
    if not resizes:
        pipeline.insert(1, dict(type='Resize', scale=(1, side), keep_ratio=True))
        resizes = [pipeline[1]]
    if len(resizes) > 1 or not resizes[0].get('keep_ratio'):
        raise SizeError(
            '--short-side: the test pipeline of the config stretches images: '
            f'{[dict(t) for t in resizes]}'
        )
    resizes[0]['scale'] = (100 * side, side)


@dataclass(frozen=True)
class JobSize:
    """The windows of a job.

    Attributes:
        images: Number of images.
        windows: Number of windows of all images.
        largest: Original size (height, width) of the image with the most windows, its
            size in the model, and its windows.
    """

    images: int
    windows: int
    largest: tuple[tuple[int, int], tuple[int, int], int]

    @property
    def is_large(self) -> bool:
        """Whether people would like to know beforehand."""
        return self.windows >= _LARGE

    def describe(self, seconds: float) -> str:
        """One line, with the time at so many seconds a window."""
        (height, width), (inner_height, inner_width), windows = self.largest
        images = f'{self.images} image' + 's' * (self.images > 1)
        return (
            f'{images}, {self.windows} windows at {seconds:.2g} s: about '
            f'{_duration(seconds * self.windows)}. Largest: {width} x {height}, '
            f'{inner_width} x {inner_height} in the model, {windows} windows '
            '(--short-side changes it)'
        )


def job_size(inferencer, sources: Sequence[ImageSource]) -> JobSize | None:
    """Count the windows of images from the heads of their files.

    Args:
        inferencer: An :class:`OpenVocabInferencer`.
        sources: The images. Of many some are looked at, and the rest is inferred.

    Returns:
        None if no image can be read.
    """
    step = -(-len(sources) // _SAMPLED)
    found = []
    for size in _sizes(sources[::step]):
        inner = _resized(inferencer.pipeline.transforms, size)
        found.append((size, inner, _count_windows(inferencer.model, inner)))
    if not found:
        return None
    mean = sum(windows for _, _, windows in found) / len(found)
    largest = max(found, key=lambda entry: entry[2])
    return JobSize(len(sources), round(mean * len(sources)), largest)


def seconds_per_window(inferencer, vocabulary: Vocabulary, job: JobSize) -> float:
    """Time of a window, measured on random pixels of the least that can be run."""
    model = inferencer.model
    cfg = model.build_inference().cfg
    size = tuple(cfg.crop_size) if cfg.mode == 'slide' else job.largest[1]
    image = torch.randn(1, 3, *size, device=model.data_preprocessor.device)
    start = time.perf_counter()
    (sample,) = model.predict(image, vocabulary=vocabulary)
    sample.pred_sem_seg.data.cpu()  # a GPU works on when the call has returned
    return (time.perf_counter() - start) / _count_windows(model, size)


def _count_windows(model, size: tuple[int, int]) -> int:
    cfg = model.build_inference().cfg
    if cfg.mode == 'local-global':
        return len(cfg.windows(tuple(cfg.image_size))) + 1
    return len(cfg.windows(size))


def _sizes(sources: Iterable[ImageSource]) -> Iterable[tuple[int, int]]:
    """Height and width of images whose files say it."""
    for source in sources:
        if isinstance(source.content, np.ndarray):
            yield source.content.shape[:2]
            continue
        try:
            with Image.open(source.content, formats=image_formats()) as image:
                yield image.height, image.width
        except Exception:  # a URL, too large, or broken: its turn will tell
            continue


def _resized(transforms: Iterable[object], size: tuple[int, int]) -> tuple[int, int]:
    """Size after the resizing of a pipeline."""
    height, width = size
    for transform in transforms:
        if type(transform).__name__ == 'Resize':
            scale = transform.scale
            if transform.keep_ratio:
                scale = mmcv.rescale_size((width, height), scale)
            width, height = scale
    return height, width


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
