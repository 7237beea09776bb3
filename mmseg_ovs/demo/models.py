"""The models of the page: loaded when first asked for, kept, shared by all requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg.registry import MODELS

from mmseg_ovs.apis import ImageSource, OpenVocabInferencer, Prediction
from mmseg_ovs.composition import find_config, read_config_file
from mmseg_ovs.models.postprocessors import ImagePostProcessor
from mmseg_ovs.models.utils import CheckpointError, parts_at_random, require_weights
from mmseg_ovs.models.utils.outline import outline_model
from mmseg_ovs.structures import Vocabulary

# For models whose config names no refinement.
_REFINEMENT = dict(type='PAMR', stage='image')


@dataclass(frozen=True)
class Answer:
    """What a request gets.

    Attributes:
        prediction: The result.
        seconds: Time for words and image.
        loading_seconds: Time until the model was loaded; 0 if it was there.
        device: Where it ran.
    """

    prediction: Prediction
    seconds: float
    loading_seconds: float
    device: str


class PageModel:
    """One model of the page, for any number of requests at a time.

    Args:
        config: Path of a config, or name of a shipped one.
        checkpoint: As for :class:`OpenVocabInferencer`.
        device: As for :class:`OpenVocabInferencer`.
        allow_random: As for :class:`OpenVocabInferencer`.
        **switches: See :func:`accelerate`.

    Attributes:
        refines: Whether the config itself has a refinement.
        background_score: Where its authors let the background begin; None: they have
            no such rule.
        is_random: Whether parts have random weights, which ``allow_random`` allows.

    Raises:
        UnknownConfigError: There is no such config.
        CheckpointError: There is no such file, or parts have no weights. Whether a
            file fits shows when it is loaded.
    """

    _loading = threading.Lock()  # one model at a time

    def __init__(
        self,
        config: str,
        checkpoint: str | None = None,
        device: str | None = None,
        allow_random: bool = False,
        **switches: bool,
    ) -> None:
        self.cfg = read_config_file(find_config(config))
        if checkpoint and '://' not in checkpoint and not Path(checkpoint).is_file():
            raise CheckpointError(f'No checkpoint at {checkpoint}')
        self.allow_random = allow_random
        self.is_random = self._check_weights(checkpoint)
        processors = self.cfg.model.get('postprocessors', [])
        self.refines = any(
            issubclass(MODELS.get(p['type']), ImagePostProcessor) for p in processors
        )
        if not self.refines:
            self.cfg.model.postprocessors = [*processors, _REFINEMENT]
        self.background_score = _background_score(self.cfg)
        self.checkpoint = checkpoint
        self.device = device
        self.switches = switches
        self._inferencer: OpenVocabInferencer | None = None

    def _check_weights(self, checkpoint: str | None) -> bool:
        """Refuse random weights before the page opens; whether there are some."""
        loaded = bool(checkpoint or self.cfg.get('load_from'))
        try:
            model = outline_model(
                self.cfg.model, self.cfg.get('default_scope', 'mmseg')
            )
        except RuntimeError:  # a module computes with values: known when it is loaded
            return False
        require_weights(model, loaded, self.allow_random)
        return bool(parts_at_random(model, loaded))

    def load(self) -> OpenVocabInferencer:
        """The inferencer, loaded at the first call."""
        if self._inferencer is None:
            with self._loading:
                if self._inferencer is None:
                    self._inferencer = OpenVocabInferencer(
                        self.cfg,
                        self.checkpoint,
                        self.device,
                        **self.switches,
                        allow_random=self.allow_random,
                    )
        return self._inferencer

    def segment(
        self,
        source: ImageSource,
        vocabulary: Vocabulary,
        background_score: float | None = None,
        refine: bool = False,
        keep_scores: bool = False,
    ) -> Answer:
        """Segment an image.

        Args:
            source: The image.
            vocabulary: The classes.
            background_score: Pixels where no class scores higher are background;
                None: no background.
            refine: Whether masks are refined with the image.
            keep_scores: As for :meth:`OpenVocabInferencer.predict`.

        Raises:
            CheckpointError: The checkpoint does not fit.
            ImageError: The image cannot be segmented.
            UnknownNameError: The model has no text vectors for a word.
            VocabularyError: The words cannot be used.
        """
        there, start = self._inferencer is not None, time.perf_counter()
        inferencer = self.load()
        loaded = time.perf_counter()
        (prediction,) = inferencer.predict(
            source,
            vocabulary,
            background_score=background_score,
            refine=refine,
            keep_scores=keep_scores,
        )
        prediction.check()
        return Answer(
            prediction,
            seconds=time.perf_counter() - loaded,
            loading_seconds=0.0 if there else loaded - start,
            device=str(inferencer.device),
        )


def _background_score(cfg: Mapping[str, Any]) -> float | None:
    """The first threshold among the rules of a config, its own and its data sets'."""
    for part in (cfg, *cfg.get('data_overrides', {}).values()):
        hook = part.get('default_hooks', {}).get('vocabulary') or {}
        rule = hook.get('background') or {}
        if rule.get('type') == 'threshold':
            return rule['value']
    return None
