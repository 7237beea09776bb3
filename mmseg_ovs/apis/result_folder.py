"""What prediction leaves on disk: overlays, label maps, their legend, and more."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import OpenVocabError, replacing, some_of, write_whole
from mmseg_ovs.visualization import make_palette

from .coco_rle import CocoRleFile
from .image_sources import ImageSource, output_names
from .prediction import Prediction
from .videos import Video, writing_video


class ResultFolderError(OpenVocabError):
    """The folder has results that new ones would contradict or replace."""


class ResultFolder:
    """Writes ``vis/NAME.png``, ``pred/NAME.png`` and ``legend.json``.

    NAME is the image's file name; images of one name get ``NAME_2`` and so on.
    Label maps are grey PNG of 8 bits, or of 16 bits with more than 255 classes.
    ``legend.json`` holds name, synonyms and colour of each label, the settings, and the
    absolute path of each NAME.

    A folder with results of the same classes and settings is added to: an image of
    before keeps its NAME.

    On request also ``scores/NAME.npy``, float16 (N, H, W), and ``coco_rle.json``, for
    which the folder is a context: the file appears at its end, however it ends. A video
    becomes ``vis/NAME.mp4`` and, on request, the label maps of its frames
    ``pred/NAME/000012.png``.

    Args:
        folder: Made if it does not exist.
        images: The images that will be written, in order.
        vocabulary: Their classes, also an attribute.
        videos: Paths of the videos that will be written.
        scores: Write the scores of images, which their predictions have to hold.
        coco_rle: Write run-length masks of images and frames.
        frames: Write label maps of frames.
        skip_existing: Leave out images and videos whose results are there.
        settings: What else results depend on, as plain values by name, see
            :meth:`OpenVocabInferencer.settings`.

    Attributes:
        images: The images that are to be written, in order.
        videos: Path and NAME of the videos that are to be written.

    Raises:
        ResultFolderError: The folder has results of other classes or settings, or
            run-length masks that would be replaced.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        images: Sequence[ImageSource],
        vocabulary: Vocabulary,
        videos: Sequence[str] = (),
        scores: bool = False,
        coco_rle: bool = False,
        frames: bool = False,
        skip_existing: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.vocabulary = Path(folder), vocabulary
        self.scores, self.frames = scores, frames
        before = self._read_legend()
        clips = [ImageSource(path, path) for path in videos]
        known = {**before.get('images', {}), **before.get('videos', {})}
        names = output_names([*images, *clips], known)
        image_names, video_names = names[: len(images)], names[len(images) :]
        todo = [
            (image, name)
            for image, name in zip(images, image_names, strict=True)
            if not (skip_existing and name in known and self._has_image(name))
        ]
        self.images = [image for image, _ in todo]
        self._image_names = iter([name for _, name in todo])
        self.videos = [
            (path, name)
            for path, name in zip(videos, video_names, strict=True)
            if not (skip_existing and name in known and self._has_video(name))
        ]
        # As in mmseg, 255 stays free for "ignore".
        self._dtype = np.uint8 if vocabulary.num_classes <= 255 else np.uint16
        legend = _legend(vocabulary, settings or {})
        self._check_before(before, legend, coco_rle)
        new = dict(
            settings=legend['settings'],
            images={n: i.location for n, i in zip(image_names, images, strict=True)},
            videos={n: i.location for n, i in zip(video_names, clips, strict=True)},
        )
        for key, entries in new.items():
            legend[key] = {**before.get(key, {}), **entries}
        text = json.dumps(legend, ensure_ascii=False, indent=1)
        write_whole(self.folder / 'legend.json', text + '\n')
        self._coco = CocoRleFile(self.folder / 'coco_rle.json') if coco_rle else None
        self._count = 0  # images and frames so far

    def _read_legend(self) -> dict[str, Any]:
        """What is there from an earlier run."""
        try:
            legend = json.loads((self.folder / 'legend.json').read_text('utf-8'))
            _basis(legend), legend['images'], legend['videos']
        except FileNotFoundError:
            return {}
        except (KeyError, TypeError, ValueError) as error:
            raise ResultFolderError(
                f'{self.folder}/legend.json is damaged or of something else: give '
                'another folder, or delete it'
            ) from error
        return legend

    def _check_before(self, before: dict, legend: dict, coco_rle: bool) -> None:
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
        if coco_rle and self._has('coco_rle.json'):
            raise ResultFolderError(
                f'{self.folder}/coco_rle.json would be replaced: give another folder, '
                'or delete it'
            )

    def _has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def _has_image(self, name: str) -> bool:
        files = [f'pred/{name}.png', f'vis/{name}.png']
        return all(map(self._has, files + [f'scores/{name}.npy'] * self.scores))

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
        if self._coco is not None:
            self._coco.close()

    def write(self, prediction: Prediction, sheet: np.ndarray | None) -> None:
        """Write the next image's results and its sheet (RGB), unless it failed."""
        name = next(self._image_names)
        if prediction.error is None:
            self._write_png(f'pred/{name}.png', self._labels(prediction))
            self._write_png(f'vis/{name}.png', sheet)
            if self.scores:
                with replacing(self.folder / 'scores' / f'{name}.npy') as temporary:
                    np.save(temporary, prediction.scores.astype(np.float16))
        self._add_coco_rle(prediction)

    @contextmanager
    def writing_video(
        self, name: str, fps: float
    ) -> Iterator[Callable[[Prediction, np.ndarray], None]]:
        """Give a function that writes the next frame's results and overlay (RGB).

        Args:
            name: That of one of ``videos``.
            fps: Frames per second.

        Raises:
            VideoError: See :func:`writing_video`; the overlays are then lost.
        """

        def write(prediction: Prediction, overlay: np.ndarray) -> None:
            video.write(overlay)
            if self.frames:
                frame = f'{prediction.source.frame:06}'
                self._write_png(f'pred/{name}/{frame}.png', self._labels(prediction))
            self._add_coco_rle(prediction)

        with writing_video(self.folder / 'vis' / f'{name}.mp4', fps) as video:
            yield write

    def _labels(self, prediction: Prediction) -> np.ndarray:
        return prediction.labels.astype(self._dtype)

    def _write_png(self, name: str, pixels: np.ndarray) -> None:
        with replacing(self.folder / name) as temporary:
            Image.fromarray(pixels).save(temporary)

    def _add_coco_rle(self, prediction: Prediction) -> None:
        self._count += 1
        if self._coco is None or prediction.error is not None:
            return
        origin = dict(image_id=self._count, file_name=prediction.source.name)
        if prediction.source.frame is not None:
            origin['frame'] = prediction.source.frame
        self._coco.add({**origin, **entry} for entry in prediction.coco_rle())


def _legend(vocabulary: Vocabulary, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What results depend on, with a colour for each class."""
    colours = make_palette(vocabulary.num_classes)
    rows = zip(vocabulary.classes, vocabulary.synonyms, colours, strict=True)
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
