"""Segment images of one's own with words of one's own."""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose, LoadAnnotations
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms.loading import InferencerLoader
from mmseg.registry import MODELS, TRANSFORMS
from torch import nn

from mmseg_ovs.acceleration import accelerate
from mmseg_ovs.composition import find_config, read_config_file, require_model
from mmseg_ovs.composition.compose import is_resize
from mmseg_ovs.datasets.image_backend import read_checked_images
from mmseg_ovs.engine.data_colours import colours_of, data_colours
from mmseg_ovs.jobs import file_digest, sha256
from mmseg_ovs.models.segmentors import Temporal, build_temporal
from mmseg_ovs.models.utils import (
    init_own_weights,
    load_model_checkpoint,
    require_weights,
)
from mmseg_ovs.structures import Vocabulary, VocabularyError
from mmseg_ovs.utils import check_device
from mmseg_ovs.utils.upstream_warnings import without_upstream_warnings
from mmseg_ovs.visualization import make_palette

from .image_sources import (
    ImageError,
    ImageSource,
    is_one_image,
    list_images,
    stream_images,
)
from .job_size import inference_pipeline
from .one_class import one_class_hint
from .prediction import Prediction
from .result_folder import ResultFolder
from .video_encoders import VideoError


class OpenVocabInferencer:
    """Runs an open-vocabulary model on images, with any classes at each call.

    Calls change nothing in the model: threads may share an inferencer.

    Calls take what mmseg's ``MMSegInferencer`` takes and classes, one image that fails
    does not lose the others, and weights that do not fit are refused::

        inferencer = OpenVocabInferencer(config, checkpoint)
        result = inferencer('photo.jpg', ['a pikachu', 'tree', 'road'])
        result.labels, result.names
        result.plot().save('overlay.jpg')
        inferencer('photos/', ['tree', 'road'], out_dir='out')

    Args:
        model: Path of a config, name of a shipped one, or the config itself.
        weights: Checkpoint of the whole model. None: the config's ``load_from``;
            without one, every part loads the weights that its own ``init_cfg`` names.
        device: By default the GPU if there is one.
        bf16: Compute in bfloat16 (see :func:`run_in_bfloat16`): faster where the
            processor has it, with labels that differ in a few pixels.
        onednn: Run linear layers in oneDNN or in MKL (see
            :func:`run_linears_in_onednn`), with equal results. None: what is faster
            on this processor.
        compile: Compile the image trunks (see :func:`compile_trunks`).
        allow_random: Also run a model with parts that no file gives weights, for its
            shapes and times; its masks are noise.

    Attributes:
        colours: ``(R, G, B)`` by name of a class: those of the data of the config or
            checkpoint. Other names get colours of their own.

    Raises:
        UnknownConfigError: There is no such config.
        ConfigError: The config cannot be read, or has no model.
        ArgumentError: This machine does not have the device.
        CheckpointError: The checkpoint is unreadable or does not fit; or parts have no
            weights, which is said before anything is downloaded.
        TypeError: The config is not of an open-vocabulary model.
    """

    def __init__(
        self,
        model: str | os.PathLike | Config | dict,
        weights: str | os.PathLike | None = None,
        device: str | torch.device | None = None,
        bf16: bool = False,
        onednn: bool | None = None,
        compile: bool = False,
        allow_random: bool = False,
    ) -> None:
        if device is not None:
            check_device(device)
        if isinstance(model, Config):
            self.cfg = copy.deepcopy(model)
        elif isinstance(model, dict):
            self.cfg = Config(copy.deepcopy(model))
        else:
            self.cfg = read_config_file(find_config(model))
        require_model(self.cfg)
        init_default_scope(self.cfg.get('default_scope', 'mmseg'))
        self.weights = self.cfg.get('load_from') if weights is None else weights
        self.colours = data_colours(self.cfg)
        model = self._build_model(self.weights, allow_random)
        self.model = model.to(device or get_device()).eval()
        accelerate(self.model, onednn, bf16, compile)
        self._finds_library = onednn is None
        self.pipeline = _inference_pipeline(self.cfg)
        self._one_class: set[Vocabulary] = set()  # those that a warning has named

    def _build_model(
        self, weights: str | os.PathLike | None, allow_random: bool
    ) -> nn.Module:
        with without_upstream_warnings():
            model = revert_sync_batchnorm(MODELS.build(self.cfg.model))
        if not hasattr(model, 'set_vocabulary'):
            raise TypeError(
                f'{type(model).__name__} has a fixed set of classes, which words '
                'cannot change: use mmseg.apis.MMSegInferencer for it'
            )
        require_weights(model, weights is not None, allow_random)
        if weights is not None:
            metainfo = load_model_checkpoint(model, weights).get('dataset_meta')
            model.dataset_meta = metainfo
            self.colours = {**colours_of(metainfo or {}), **self.colours}
        else:
            init_own_weights(model, allow_random)
        return model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.data_preprocessor.device

    def to(self, device: str | torch.device) -> OpenVocabInferencer:
        """Move the model to another device.

        Raises:
            ArgumentError: This machine does not have it.
        """
        check_device(device)
        self.model.to(device)
        return self

    def __call__(
        self,
        images: object,
        classes: object | None = None,
        background: Mapping[str, Any] | None = None,
        background_score: float | None = None,
        batch_size: int = 1,
        out_dir: str | os.PathLike | None = None,
        keep_scores: bool = False,
        color: str | None = None,
        formats: Sequence[str] = (),
        **test_cfg,
    ) -> Prediction | list[Prediction]:
        """Segment images.

        Args:
            images: Path, URL, PIL image, array or tensor; folder, pattern, batch of
                tensors, or a list of those (see :func:`list_images`).
            classes: List of words, one word, name of a shipped vocabulary, ``.json`` or
                ``.txt`` file, or dict (see :meth:`Vocabulary.build`). None: those of
                the config or of the checkpoint's training data.
            background: Background rule, see :meth:`Vocabulary.build`.
            background_score: Short for the most common rule: a pixel where no class
                scores higher is background.
            batch_size: Images segmented together; they may differ in size.
            out_dir: Folder for overlays and label maps, and for scores that are kept
                (see :class:`ResultFolder`).
            keep_scores: Keep the scores of all classes: 4 bytes a class and pixel.
            color: Order of channels of images in memory: ``'bgr'`` or ``'rgb'``.
                None: BGR in arrays, RGB in tensors.
            formats: What else to write to ``out_dir``: ``'coco'``, ``'coco-polygons'``,
                ``'yolo'``.
            **test_cfg: Settings of :class:`InferenceCfg` for this call, for example
                ``refine=False``.

        Returns:
            The result for one image; for a list, batch, folder or pattern a list in the
            order of the images. One of several that fails is logged as an error, and
            its result holds the error.

        Raises:
            ImageError: There are no such images, or none could be segmented.
            VocabularyError: The classes cannot be used.
            ValueError: A setting does not fit.
        """
        if formats and not out_dir:
            raise ImageError('formats are files: give out_dir, too')
        sources = list_images(images, color)
        vocabulary = self.read_vocabulary(classes, background, background_score)
        predictions = self.predict(
            sources,
            vocabulary,
            batch_size=batch_size,
            keep_scores=keep_scores,
            **test_cfg,
        )
        folder = nullcontext()
        if out_dir:
            folder = ResultFolder(
                out_dir,
                sources,
                vocabulary,
                self.palette(vocabulary),
                scores=keep_scores,
                formats=formats,
                settings=self.settings(**test_cfg),
            )
        results = []
        with folder:
            for prediction in predictions:
                if out_dir:
                    folder.write(prediction)
                results.append(prediction)
        if all(result.error is not None for result in results):
            results[0].check()
        for result in results:
            if result.error is not None:
                print_log(
                    f'{result.source.name} could not be segmented: {result.reason}',
                    logger='current',
                    level=logging.ERROR,
                )
        return results[0] if is_one_image(images) else results

    def predict(
        self,
        images: object,
        classes: object | None = None,
        background: Mapping[str, Any] | None = None,
        background_score: float | None = None,
        batch_size: int = 1,
        keep_scores: bool = False,
        color: str | None = None,
        temporal: str | Mapping[str, Any] | Temporal | None = None,
        **test_cfg,
    ) -> Iterator[Prediction]:
        """Segment images one after the other, for more than memory would hold.

        Arguments and errors are those of the call, before the first image; what goes
        wrong with an image is in its :class:`Prediction`. ``images`` may also be an
        iterator, such as a :class:`Video`, which is read as it is needed.
        An image for which ``keep_scores`` would take more than 2 GiB fails.

        Args:
            temporal: How the frames of a video, which ``images`` then are, take over
                scores of the frames before: ``'smooth'``, ``'propagate'`` or a dict
                (see :func:`build_temporal`). Each call and each :class:`Video` begins
                anew; frames from elsewhere do not with a strategy from
                ``build_temporal``, which remembers. A frame that fails is not
                remembered.

        Raises:
            VideoError: ``temporal`` is given, and the images are no video.
            OpenVocabError: There is no such strategy, or the model cannot follow it.
        """
        if batch_size < 1:
            raise ValueError(f'batch_size has to be at least 1, not {batch_size}')
        temporal = build_temporal(temporal)
        sources = stream_images(images, color)
        if temporal is not None:
            if isinstance(sources, list):
                raise VideoError(
                    'temporal is for the frames of a video, one after the other: call '
                    'predict with a Video or an iterator, such as iter(frames); leave '
                    'temporal out for images'
                )
            self.model.check_temporal(temporal)
        vocabulary = self.read_vocabulary(classes, background, background_score)
        if keep_scores:
            test_cfg['keep_logits'] = True
        # what does not fit comes up here
        self.model.build_inference(**test_cfg).check(vocabulary)
        return self._predict(sources, vocabulary, batch_size, test_cfg, temporal)

    def palette(self, vocabulary: Vocabulary) -> np.ndarray:
        """Colours of classes, uint8 RGB (N, 3), see :func:`make_palette`."""
        return np.array(make_palette(vocabulary.classes, self.colours), dtype=np.uint8)

    def read_vocabulary(
        self,
        classes: object | None = None,
        background: Mapping[str, Any] | None = None,
        background_score: float | None = None,
    ) -> Vocabulary:
        """The vocabulary of a call with these arguments, which it may be given instead.

        Raises:
            VocabularyError: The classes cannot be used.
            UnknownNameError: The model has no text embeddings for a name.
            TextShapeError: The model cannot compare the text embeddings.
        """
        if classes is None:
            classes = self.model.vocabulary
        if classes is None:
            raise VocabularyError(
                'Say what to look for: classes=[...], the name of a vocabulary or a '
                'file. Neither config nor checkpoint names classes.'
            )
        if background_score is not None:
            if background is not None:
                raise VocabularyError(
                    'Give a background rule or a background score, not both.'
                )
            background = dict(type='threshold', value=background_score)
        if isinstance(classes, str) and not Vocabulary.is_source(classes):
            classes = [classes]
        vocabulary = Vocabulary.build(classes)
        if background is not None:
            recipe = dict(source=vocabulary, background=background)
            vocabulary = Vocabulary.build(recipe)
        with torch.no_grad():  # trouble with the words comes up here
            self.model.check_vocabulary(vocabulary)
        hint = one_class_hint(vocabulary)
        if hint and vocabulary not in self._one_class:
            self._one_class.add(vocabulary)
            print_log(hint, logger='current', level=logging.WARNING)
        return vocabulary

    def settings(self, **test_cfg) -> dict[str, str]:
        """What results depend on besides the classes, as texts by name.

        Args:
            **test_cfg: Those of the call.
        """
        steps = inference_pipeline(self.cfg)
        resizes = [step for step in steps if is_resize(step)]
        rest = [self.cfg.model, [step for step in steps if not is_resize(step)]]
        place = str(self.weights)
        if self.weights is not None and '://' not in place:
            place = f'{os.path.realpath(place)} ({self._weights_digest[:8]})'
        name = os.path.basename(self.cfg.filename or 'of no file')
        # what was found by trying may differ in the next run
        found = {'onednn', 'no-onednn'} if self._finds_library else set()
        switches = [s for s in self.model.acceleration if s not in found]
        return {
            'config': f'{name} ({sha256(_as_json(rest))[:8]})',
            'checkpoint': place,
            'image size': _as_json(resizes),
            'test_cfg': _as_json(test_cfg),
            'acceleration': ', '.join(switches) or 'none',
        }

    @cached_property
    def _weights_digest(self) -> str:
        """A training that is repeated writes other weights to the same path."""
        return file_digest(self.weights)

    def _predict(
        self,
        sources: Iterable[ImageSource],
        vocabulary: Vocabulary,
        batch_size: int,
        test_cfg: dict[str, Any],
        temporal: Temporal | None,
    ) -> Iterator[Prediction]:
        palette = self.palette(vocabulary)
        # mmseg's ResizeShortestEdge keeps the size of the image that it works on.
        transforms = copy.deepcopy(self.pipeline.transforms)
        for members in _batches(sources, batch_size):
            if temporal is not None and members[0].frame == 0:
                temporal.memory = None
            predictions = [
                Prediction(source, vocabulary, palette) for source in members
            ]
            batch = [(p, _load(p, transforms)) for p in predictions]
            if test_cfg.get('keep_logits'):
                for prediction in predictions:
                    prediction.refuse_large_scores()
            good = [(p, inputs) for p, inputs in batch if p.error is None]
            if good:
                self._segment(good, test_cfg, temporal)
            yield from predictions

    @torch.no_grad()
    def _segment(
        self,
        batch: list[tuple[Prediction, dict]],
        test_cfg: dict[str, Any],
        temporal: Temporal | None,
    ) -> None:
        """Segment a batch; if that fails, one by one, to find who is to blame."""
        error = None
        memory = None if temporal is None else temporal.memory
        try:
            # Clones: a failed attempt leaves its notes (padding) in the samples.
            data = [
                dict(inputs, data_samples=inputs['data_samples'].clone())
                for _, inputs in batch
            ]
            data = self.model.data_preprocessor(pseudo_collate(data), False)
            vocabulary = batch[0][0].vocabulary
            samples = self.model.predict(
                **data, vocabulary=vocabulary, temporal=temporal, **test_cfg
            )
        except Exception as caught:
            error = caught
            if temporal is not None:
                temporal.memory = memory
        if error is None:
            for (prediction, _), sample in zip(batch, samples, strict=True):
                prediction.sample = sample.cpu()
        elif len(batch) == 1:
            batch[0][0].error = error
        else:
            for single in batch:
                self._segment([single], test_cfg, temporal)


def _batches(sources: Iterable[ImageSource], size: int) -> Iterator[list[ImageSource]]:
    """Up to ``size`` at a time; a video begins a batch."""
    batch = []
    for source in sources:
        if batch and source.frame == 0:
            yield batch
            batch = []
        batch.append(source)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _load(prediction: Prediction, transforms: Iterable[Callable]) -> dict | None:
    """Run a pipeline on an image; note the pixels, or what went wrong."""
    results = prediction.source.content
    try:
        for transform in transforms:
            results = transform(results)
            if isinstance(transform, InferencerLoader):
                pixels = results['img'].astype(np.uint8)
                prediction.image = np.ascontiguousarray(pixels[..., ::-1])
    except Exception as error:  # of any file format or transform
        prediction.error = error
        if prediction.image is None:
            prediction.error = ImageError(f'not readable as an image ({error})')
    return results


def _as_json(value: Any) -> str:
    return json.dumps(value, default=str)


def _inference_pipeline(cfg: Config) -> Compose:
    """The config's test pipeline without labels, for files and arrays."""
    transforms = [dict(copy.deepcopy(t)) for t in inference_pipeline(cfg)]
    loaders = [t for t in transforms if t['type'] == 'LoadImageFromFile']
    if len(loaders) != 1:
        raise ValueError(
            'The test pipeline of the config needs exactly one LoadImageFromFile, but '
            f'has {[t["type"] for t in transforms]}'
        )
    loaders[0]['type'] = 'InferencerLoader'
    read_checked_images(loaders[0])
    return Compose([t for t in transforms if not _loads_labels(t)])


def _loads_labels(transform: dict) -> bool:
    kind = transform['type']
    kind = TRANSFORMS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, LoadAnnotations)
