"""Each kind of input into a result folder, with a bar on the standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from mmengine.utils import ProgressBar

from mmseg_ovs.models.segmentors import build_temporal
from mmseg_ovs.utils import replacing

from .geotiff import GeoTiff, Reading
from .geotiff_output import draw_geotiff, segment_geotiff
from .image_sources import ImageError
from .inferencer import OpenVocabInferencer
from .job_size import job_size, seconds_per_window
from .result_folder import ResultFolder
from .video_encoders import VideoError
from .video_report import VideoReport
from .videos import Video


def segment_images(
    inferencer: OpenVocabInferencer,
    folder: ResultFolder,
    batch_size: int,
    keep_scores: bool,
) -> list[str]:
    """Write the results of the images of a folder.

    Args:
        inferencer: The model.
        folder: Where to; knows the images.
        batch_size: Images segmented together.
        keep_scores: Whether the folder writes scores.

    Returns:
        A line for each that failed.
    """
    images = folder.images
    job = job_size(inferencer, images)
    if job is not None and job.is_large:
        seconds = seconds_per_window(inferencer, folder.vocabulary, job)
        print(job.describe(seconds), file=sys.stderr)
    failures = []
    bar = ProgressBar(len(images), file=sys.stderr)
    for prediction in inferencer.predict(
        images, folder.vocabulary, batch_size=batch_size, keep_scores=keep_scores
    ):
        folder.write(prediction)
        if prediction.error is not None:
            failures.append(f'{prediction.source.name}: {prediction.reason}')
        bar.update()
    print(file=sys.stderr)
    return failures


def write_geotiff(
    inferencer: OpenVocabInferencer,
    folder: ResultFolder,
    path: str,
    name: str,
    reading: Reading,
    batch_size: int,
) -> list[str]:
    """Write the results of a GeoTIFF.

    Args:
        inferencer: The model.
        folder: Where to.
        path: The file.
        name: Of its results.
        reading: How it is read.
        batch_size: Tiles segmented together.

    Returns:
        A line if it failed.
    """
    labels, overlay, sheet = folder.geotiff_paths(name)
    vocabulary, opacity = folder.vocabulary, folder.opacity
    try:
        with GeoTiff(path, reading) as source:
            print(source.describe(), file=sys.stderr)
            bar = ProgressBar(len(source.tiles()), file=sys.stderr)
            for done in segment_geotiff(
                inferencer, source, labels, vocabulary, overlay, batch_size, opacity
            ):
                if done > bar.completed:
                    bar.update(done - bar.completed)
            print(file=sys.stderr)
            palette = folder.palette
            drawn = draw_geotiff(source, labels, vocabulary, palette, opacity)
            with replacing(sheet) as temporary:
                drawn.save(temporary)
    except ImageError as error:
        return [f'{path}: {error}']
    return []


def write_video(
    inferencer: OpenVocabInferencer,
    folder: ResultFolder,
    path: str,
    name: str,
    every: int,
    batch_size: int,
    temporal: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write the results of a video, and print its speed and flicker.

    Args:
        inferencer: The model.
        folder: Where to.
        path: The file.
        name: Of its results.
        every: Take every so-manieth frame.
        batch_size: Frames segmented together.
        temporal: See :func:`build_temporal`.

    Returns:
        A line if it failed.
    """
    try:
        video = Video(path, every)
        print(f'{path}:', file=sys.stderr)
        bar = ProgressBar(video.num_frames, file=sys.stderr)
        strategy = build_temporal(temporal)
        report = VideoReport(video.fps, video, strategy)
        predictions = inferencer.predict(
            report.frames, folder.vocabulary, batch_size=batch_size, temporal=strategy
        )
        with folder.writing_video(name, video.fps) as write:
            for prediction in report.watch(predictions):
                if prediction.error is not None:
                    raise VideoError(
                        f'frame {prediction.source.frame}: {prediction.reason}'
                    )
                write(prediction)
                bar.update()
        print(file=sys.stderr)
        print(f'{path}: {report.describe()}')
        video.check_complete()
    except VideoError as error:
        return [f'{path}: {error}']
    return []
