"""What prediction leaves on disk: overlays, label maps, their legend, and more."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import OpenVocabError, replacing, some_of, write_whole
from mmseg_ovs.visualization.sheet import ALPHA

from .coco import CocoFile
from .image_sources import RESULTS, ImageSource, output_names
from .prediction import Prediction
from .videos import Video, writing_video
from .yolo import yolo_data_file, yolo_text

# What label maps can be written as besides; the first two are a file of all images.
FORMATS = {
    'coco': 'coco.json',
    'coco-polygons': 'coco_polygons.json',
    'yolo': 'yolo',
}


class ResultFolderError(OpenVocabError):
    """The folder has results that new ones would contradict or replace."""


class ResultFolder:
    """Writes label maps, overlays, sheets and ``legend.json``.

    NAME is the image's file name; images of one name get ``NAME_2`` and so on.
    ``pred/NAME.png`` is a label map (see :func:`label_map_image`),
    ``overlay/NAME.jpg`` what :meth:`Prediction.plot` draws without names, and
    ``vis/NAME.png`` its sheet. ``legend.json`` holds name, synonyms and colour of each
    label, the settings, and the absolute path of each NAME.

    A folder with results of the same classes and settings is added to: an image of
    before keeps its NAME.

    On request also ``scores/NAME.npy``, float16 (N, H, W), a COCO data set
    (``coco.json``, ``coco_polygons.json``), for which the folder is a context: the file
    appears at its end, however it ends, and ``yolo/labels/NAME.txt``. A video becomes
    ``vis/NAME.mp4`` and, on request, the label maps of its frames
    ``pred/NAME/000012.png``. A GeoTIFF becomes ``pred/NAME.tif``, ``overlay/NAME.tif``
    and ``vis/NAME.png``.

    Args:
        folder: Made if it does not exist.
        images: The images that will be written, in order.
        vocabulary: Their classes, also an attribute.
        palette: Colours of the classes, uint8 RGB (N, 3), also an attribute.
        videos: Paths of the videos that will be written.
        geotiffs: Paths of the GeoTIFFs that will be written.
        scores: Write the scores of images, which their predictions have to hold.
        formats: Keys of ``FORMATS``: what to write of images and frames besides.
        frames: Write label maps of frames.
        skip_existing: Leave out images and videos whose results are there.
        settings: What else results depend on, as plain values by name, see
            :meth:`OpenVocabInferencer.settings`.
        opacity: Of classes in overlays and sheets, 0..1.

    Attributes:
        images: The images that are to be written, in order.
        videos: Path and NAME of the videos that are to be written.
        geotiffs: Path and NAME of the GeoTIFFs that are to be written.

    Raises:
        ResultFolderError: The folder has results of other classes or settings, or a
            COCO data set that would be replaced.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        images: Sequence[ImageSource],
        vocabulary: Vocabulary,
        palette: np.ndarray,
        videos: Sequence[str] = (),
        geotiffs: Sequence[str] = (),
        scores: bool = False,
        formats: Sequence[str] = (),
        frames: bool = False,
        skip_existing: bool = False,
        settings: Mapping[str, Any] | None = None,
        opacity: float = ALPHA,
    ) -> None:
        self.folder, self.vocabulary = Path(folder), vocabulary
        self.palette = palette
        self.scores, self.frames, self.opacity = scores, frames, opacity
        if unknown := set(formats) - set(FORMATS):
            raise ResultFolderError(
                f'Unknown format {min(unknown)!r}: there are {", ".join(FORMATS)}'
            )
        self.yolo = 'yolo' in formats
        self._renamed = False  # whether a text of YOLO has another name than its image
        data_sets = [FORMATS[name] for name in formats if name != 'yolo']
        before = self._read_legend()
        clips = [ImageSource(path, path) for path in videos]
        maps = [ImageSource(path, path) for path in geotiffs]
        known = {**before.get('images', {}), **before.get('videos', {})}
        names = iter(output_names([*images, *clips, *maps], known))
        image_names, video_names, map_names = (
            list(islice(names, len(part))) for part in (images, clips, maps)
        )
        todo = [
            (image, name)
            for image, name in zip(images, image_names, strict=True)
            if not (skip_existing and name in known and self._has_image(name))
        ]
        self.images = [image for image, _ in todo]
        self._image_names = iter([name for _, name in todo])
        self._file_names = _names_in_data_set(images)
        self.videos = [
            (path, name)
            for path, name in zip(videos, video_names, strict=True)
            if not (skip_existing and name in known and self._has_video(name))
        ]
        self.geotiffs = [
            (path, name)
            for path, name in zip(geotiffs, map_names, strict=True)
            if not (skip_existing and name in known and self._has_geotiff(name))
        ]
        legend = _legend(vocabulary, palette, settings or {})
        self._check_before(before, legend, data_sets)
        new = dict(
            settings=legend['settings'],
            images={
                name: image.location
                for name, image in zip(
                    [*image_names, *map_names], [*images, *maps], strict=True
                )
            },
            videos={n: i.location for n, i in zip(video_names, clips, strict=True)},
        )
        for key, entries in new.items():
            legend[key] = {**before.get(key, {}), **entries}
        text = json.dumps(legend, ensure_ascii=False, indent=1)
        write_whole(self.folder / 'legend.json', text + '\n')
        if self.yolo:
            write_whole(self.folder / 'yolo' / 'data.yaml', yolo_data_file(vocabulary))
        self._coco = [
            CocoFile(self.folder / name, vocabulary, polygons='polygons' in name)
            for name in data_sets
        ]

    def _read_legend(self) -> dict[str, Any]:
        """What is there from an earlier run."""
        try:
            legend = json.loads((self.folder / 'legend.json').read_text('utf-8'))
            _basis(legend), legend['images'], legend['videos']
        except FileNotFoundError:
            self._refuse_others()
            return {}
        except (KeyError, TypeError, ValueError) as error:
            raise ResultFolderError(
                f'{self.folder}/legend.json is damaged or of something else: give '
                'another folder, or delete it'
            ) from error
        return legend

    def _refuse_others(self) -> None:
        """Labels that somebody has drawn may lie in a folder called pred, too."""
        for name in RESULTS:
            folder = self.folder / name
            if folder.is_dir() and any(folder.iterdir()):
                raise ResultFolderError(
                    f'{folder} has files of something else, which results might '
                    'replace: give another folder'
                )

    def _check_before(
        self, before: dict, legend: dict, data_sets: Sequence[str]
    ) -> None:
        if before:
            names, new_names = (
                [entry['name'] for entry in one['classes']] for one in (before, legend)
            )
            old, new = _basis(before), _basis(legend)
            changed = [
                f'{key} {old[key]}, now {new[key]}'
                for key in new
                if key in old and old[key] != new[key]
            ]
            what = 'with other settings (' + '; '.join(changed[:3]) + ')'
            if names != new_names:
                what = f'of other classes ({some_of(names)})'
            if changed or names != new_names:
                raise ResultFolderError(
                    f'{self.folder} has results {what}: give another folder, or delete '
                    'it'
                )
        for name in filter(self._has, data_sets):
            raise ResultFolderError(
                f'{self.folder}/{name} would be replaced: give another folder, or '
                'delete it'
            )

    def _has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def _has_image(self, name: str) -> bool:
        files = [f'pred/{name}.png', f'overlay/{name}.jpg', f'vis/{name}.png']
        files += [f'scores/{name}.npy'] * self.scores
        files += [f'yolo/labels/{name}.txt'] * self.yolo
        return all(map(self._has, files))

    def _has_geotiff(self, name: str) -> bool:
        files = self.geotiff_paths(name)
        return all(path.is_file() for path in files)

    def _has_video(self, name: str) -> bool:
        video = self.folder / 'vis' / f'{name}.mp4'
        if not video.is_file() or not self.frames:
            return video.is_file()
        # An interrupted run leaves some frames.
        frames = len(list((self.folder / 'pred' / name).glob('*.png')))
        return frames == Video(video).num_frames

    def __enter__(self) -> ResultFolder:
        return self

    def __exit__(self, *failure: object) -> None:
        with ExitStack() as stack:
            for data_set in self._coco:
                stack.callback(data_set.close)

    def write(self, prediction: Prediction) -> None:
        """Write the next image's results, unless it failed."""
        name = next(self._image_names)
        if prediction.error is not None:
            return
        self._write_image(f'pred/{name}.png', prediction.label_map())
        overlay = prediction.plot(self.opacity, names=False)
        self._write_image(f'overlay/{name}.jpg', overlay, quality=92)
        self._write_image(f'vis/{name}.png', prediction.sheet(self.opacity))
        if self.scores:
            with replacing(self.folder / 'scores' / f'{name}.npy') as temporary:
                np.save(temporary, prediction.scores.astype(np.float16))
        file_name = self._file_names.get(prediction.source.name, f'{name}.png')
        if self.yolo and Path(name).name != Path(file_name).stem and not self._renamed:
            self._renamed = True
            print_log(
                f'yolo/labels/{name}.txt is that of {file_name}: trainings look for a '
                'text with the name of the image. Rename this image and others whose '
                'names have other characters or are the same',
                'current',
                logging.WARNING,
            )
        self._write_formats(prediction, name, file_name)

    def geotiff_paths(self, name: str) -> tuple[Path, Path, Path]:
        """Where labels, overlay and sheet of a GeoTIFF go."""
        return (
            self.folder / 'pred' / f'{name}.tif',
            self.folder / 'overlay' / f'{name}.tif',
            self.folder / 'vis' / f'{name}.png',
        )

    @contextmanager
    def writing_video(
        self, name: str, fps: float
    ) -> Iterator[Callable[[Prediction], None]]:
        """Give a function that writes the next frame's results and overlay.

        Args:
            name: That of one of ``videos``.
            fps: Frames per second.

        Raises:
            VideoError: See :func:`writing_video`; the overlays are then lost.
        """

        def write(prediction: Prediction) -> None:
            video.write(np.asarray(prediction.plot(self.opacity)))
            frame = f'{name}/{prediction.source.frame:06}'
            if self.frames:
                self._write_image(f'pred/{frame}.png', prediction.label_map())
            self._write_formats(prediction, frame, f'{frame}.png')

        with writing_video(self.folder / 'vis' / f'{name}.mp4', fps) as video:
            yield write

    def _write_image(self, name: str, image: Image.Image, **options: Any) -> None:
        with replacing(self.folder / name) as temporary:
            image.save(temporary, **options)

    def _write_formats(self, prediction: Prediction, name: str, file_name: str) -> None:
        """Write what was asked for besides.

        Args:
            prediction: Of an image or frame that did not fail.
            name: Of its results.
            file_name: That of the image in data sets.
        """
        if not self._coco and not self.yolo:
            return
        masks = list(prediction.masks())
        if self.yolo:
            path = self.folder / 'yolo' / 'labels' / f'{name}.txt'
            write_whole(path, yolo_text(masks))
        for data_set in self._coco:
            data_set.add(file_name, prediction.labels.shape, masks)


def _names_in_data_set(images: Sequence[ImageSource]) -> dict[str, str]:
    """Names of files as data sets have them: from their common folder on."""
    files = [image for image in images if isinstance(image.content, str)]
    web = {image.name for image in files if '://' in image.name}
    names = {name: os.path.basename(urlsplit(name).path) or name for name in web}
    paths = {i.name: os.path.abspath(i.name) for i in files if i.name not in web}
    if paths:
        # Of folders, since the common part of a single file would be all of it.
        start = os.path.commonpath([os.path.dirname(path) for path in paths.values()])
        for name, path in paths.items():
            names[name] = Path(os.path.relpath(path, start)).as_posix()
    return names


def _legend(
    vocabulary: Vocabulary, palette: np.ndarray, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What results depend on, with a colour for each class."""
    rows = zip(vocabulary.classes, vocabulary.synonyms, palette.tolist(), strict=True)
    return dict(
        classes=[
            dict(label=label, name=name, synonyms=list(synonyms), colour=colour)
            for label, (name, synonyms, colour) in enumerate(rows)
        ],
        background_label=vocabulary.background_label,
        background_score=vocabulary.background_score,
        settings=dict(settings),
    )


def _basis(legend: Mapping[str, Any]) -> dict[str, Any]:
    """By name what results depend on besides the names of the classes."""
    basis = {
        'background label': legend['background_label'],
        'background score': legend['background_score'],
        **legend['settings'],
    }
    for entry in legend['classes']:
        basis[f'synonyms of {entry["name"]}:'] = ', '.join(entry['synonyms'])
    return basis
