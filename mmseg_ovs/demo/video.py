"""Videos on the page: an overlay of all frames, and how fast and steady it was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmseg_ovs.apis import (
    ImageSource,
    OpenVocabInferencer,
    Video,
    VideoError,
    VideoReport,
    build_temporal,
    writing_video,
)
from mmseg_ovs.structures import Vocabulary

from .images import Limits


def segment_video(
    inferencer: OpenVocabInferencer,
    source: ImageSource,
    vocabulary: Vocabulary,
    background_score: float | None,
    refine: bool,
    temporal: str,
    limits: Limits,
    out: Path,
) -> str:
    """Write the overlay of a video.

    Args:
        inferencer: The model.
        source: The uploaded video.
        vocabulary: The classes.
        background_score: See :meth:`PageModel.segment`.
        refine: See :meth:`PageModel.segment`.
        temporal: See :func:`build_temporal`.
        limits: Of size and number of frames.
        out: The MP4 file.

    Returns:
        Speed and flicker.

    Raises:
        VideoError: It is too large or not readable, or a frame fails.
        OpenVocabError: The model cannot follow the strategy.
    """
    name = source.name
    if os.path.getsize(source.content) > limits.file_bytes:
        raise VideoError(f'{name} has more than {limits.megabytes:g} MB.')
    try:
        video = Video(source.content)
    except VideoError as error:
        raise VideoError(f'{name} is {error}.') from error
    strategy = build_temporal(temporal)
    report = VideoReport(video.fps, _limited(video, name, limits), strategy)
    predictions = inferencer.predict(
        report.frames,
        vocabulary,
        background_score=background_score,
        refine=refine,
        temporal=strategy,
    )
    with writing_video(out, video.fps) as writer:
        for prediction in report.watch(predictions):
            prediction.check()
            writer.write(np.asarray(prediction.plot()))
    video.check_complete()
    return report.describe()


def _limited(video: Video, name: str, limits: Limits) -> Iterator[ImageSource]:
    """The frames, unless they are too large or too many."""
    many = f'{name} has more than the {limits.frames} frames that this page takes.'
    if video.num_frames > limits.frames:
        raise VideoError(many)
    for number, source in enumerate(video):
        height, width = source.content.shape[:2]
        if height * width > limits.megapixels * 1e6:
            raise VideoError(
                f'{name} has {width} x {height} pixels, more than the '
                f'{limits.megapixels:g} megapixels that this page takes.'
            )
        if number >= limits.frames:  # not every container tells before
            raise VideoError(many)
        yield source
