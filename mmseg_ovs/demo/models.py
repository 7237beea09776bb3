"""The models of the page: loaded when first asked for, kept, one request at a time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from ..apis import ImageError, ImageSource, OpenVocabInferencer, Prediction, find_config
from ..models.postprocessors import ImagePostProcessor
from ..models.utils import CheckpointError
from ..structures.vocabulary import Vocabulary

# For models whose config names no refinement.
_REFINEMENT = dict(type='PAMR', stage='image')


@dataclass(frozen=True)
class Answer:
    """What a request gets.

    Attributes:
        image: The image, uint8 RGB (H, W, 3).
        labels: int64 (H, W).
        vocabulary: What the labels mean.
        seconds: Time for words and image, without waiting for others.
        loading_seconds: Time to load the model; 0 if it was there.
        device: Where it ran.
    """

    image: np.ndarray
    labels: np.ndarray
    vocabulary: Vocabulary
    seconds: float
    loading_seconds: float
    device: str


class PageModel:
    """One model of the page.

    Args:
        config: Path of a config, or name of a shipped one.
        checkpoint: As for :class:`OpenVocabInferencer`.
        device: As for :class:`OpenVocabInferencer`.
        **switches: See :func:`accelerate`.

    Raises:
        UnknownConfigError: There is no such config.
        CheckpointError: There is no such file. Whether it fits shows when it is loaded.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str | None = None,
        device: str | None = None,
        **switches: bool,
    ) -> None:
        self.cfg = Config.fromfile(find_config(config))
        if checkpoint and '://' not in checkpoint and not Path(checkpoint).is_file():
            raise CheckpointError(f'No checkpoint at {checkpoint}')
        self.checkpoint = checkpoint
        self.device = device
        self.switches = switches
        self._inferencer: OpenVocabInferencer | None = None
        self._processors: dict[bool, nn.ModuleList] = {}

    @property
    def refines(self) -> bool:
        """Whether the config itself has a refinement."""
        kinds = [p['type'] for p in self.cfg.model.get('postprocessors', ())]
        return any(issubclass(MODELS.get(k), ImagePostProcessor) for k in kinds)

    @property
    def loaded(self) -> bool:
        """Whether it has been loaded."""
        return self._inferencer is not None

    def load(self) -> OpenVocabInferencer:
        """The inferencer, loaded at the first call."""
        if self._inferencer is None:
            inferencer = OpenVocabInferencer(
                self.cfg, self.checkpoint, self.device, **self.switches
            )
            own = list(inferencer.model.postprocessors)
            plain = [p for p in own if not isinstance(p, ImagePostProcessor)]
            refined = own if self.refines else [*own, MODELS.build(_REFINEMENT)]
            self._processors = {
                True: nn.ModuleList(refined),
                False: nn.ModuleList(plain),
            }
            self._inferencer = inferencer
        return self._inferencer

    def predict(
        self,
        source: ImageSource,
        vocabulary: Vocabulary,
        background: float | None,
        refine: bool,
    ) -> Prediction:
        """Segment one image.

        Raises:
            ImageError: It cannot be segmented.
        """
        inferencer = self.load()
        inferencer.model.postprocessors = self._processors[refine]
        (prediction,) = inferencer.predict(source, vocabulary, background)
        if prediction.error is not None:
            raise ImageError(
                f'{source.name} could not be segmented: {prediction.reason}'
            ) from prediction.error
        return prediction


class ModelShelf:
    """All models of the page, shared by everybody who looks at it.

    A model's vocabulary and post-processors are state that every request sets, so
    requests run one after the other, whoever calls.

    Args:
        models: By the names that people choose from; at least one.
    """

    def __init__(self, models: dict[str, PageModel]) -> None:
        self.models = models
        self._lock = threading.Lock()

    def segment(
        self,
        name: str,
        source: ImageSource,
        vocabulary: Vocabulary,
        background: float | None = None,
        refine: bool = False,
    ) -> Answer:
        """Segment an image with a model.

        Args:
            name: Of the model.
            source: The image.
            vocabulary: The classes.
            background: Score at or below which a pixel is background; None: no
                background.
            refine: Whether masks are refined with the image.

        Raises:
            CheckpointError: The model's checkpoint does not fit.
            ImageError: The image cannot be segmented.
            UnknownNameError: The model has no text vectors for a word.
            VocabularyError: The words cannot be used.
        """
        model = self.models[name]
        with self._lock:
            there, start = model.loaded, time.perf_counter()
            device = model.load().model.data_preprocessor.device
            loaded = time.perf_counter()
            prediction = model.predict(source, vocabulary, background, refine)
            labels = prediction.labels
            done = time.perf_counter()
        return Answer(
            image=prediction.image,
            labels=labels,
            vocabulary=prediction.vocabulary,
            seconds=done - loaded,
            loading_seconds=0.0 if there else loaded - start,
            device=str(device),
        )
