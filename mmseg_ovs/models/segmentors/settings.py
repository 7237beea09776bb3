"""``train_cfg`` and ``test_cfg`` of the segmentor: their keys, checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from torch import Tensor

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.structures.seen_names import seen_mask
from mmseg_ovs.utils import OpenVocabError, is_number, is_positive

from ..utils import Window, window_grid

MODES = ('whole', 'slide', 'local-global')
AGGREGATIONS = ('features', 'logits')


@dataclass
class PropagationCfg:
    """``test_cfg.propagation``, see :class:`LabelPropagation`; defaults are LPOSS's.

    Attributes:
        neighbours: Patches most alike that a patch chooses, itself among them; all of
            an image that has no more.
        alpha: Share of the neighbours, below 1.
        gamma: Exponent of the similarity.
        sigma: Factor of the distance, in pixels of the image that windows are cut from.
        iterations: Of conjugate gradients.
        max_patches: Most patches of all windows of an image. Its graph takes 8 bytes
            times their square.
    """

    neighbours: int = 400
    alpha: float = 0.95
    gamma: float = 3.0
    sigma: float = 0.01
    iterations: int = 10
    max_patches: int = 20000

    def __post_init__(self) -> None:
        for name in ('neighbours', 'iterations', 'max_patches'):
            if getattr(self, name) < 1:
                raise ValueError(f'test_cfg.propagation.{name} has to be at least 1')
        if not 0 < self.alpha < 1:
            raise ValueError(
                f'test_cfg.propagation.alpha has to be between 0 and 1: {self.alpha}'
            )
        if not self.gamma > 0 or self.sigma < 0:
            raise ValueError(
                'test_cfg.propagation.gamma has to be positive and sigma at least 0'
            )


@dataclass
class InferenceCfg:
    """``test_cfg`` of :class:`OpenVocabSegmentor`.

    Attributes:
        mode: 'whole', 'slide' or 'local-global' (windows of the image stretched to
            ``image_size``, and all of it at once).
        crop_size: Height and width of a window ('slide', 'local-global').
        stride: Vertical and horizontal step of the windows ('slide', 'local-global').
        image_size: Height and width to which images are stretched, whatever their
            aspect ('local-global').
        aggregation: What of windows and whole image is averaged ('local-global'):
            'features' (:class:`FeatureAggregation`) or 'logits'
            (:class:`LogitsAggregation`).
        input_size: Windows are resized to it (bilinear) before the backbone, whatever
            their aspect. None: windows go in as they are.
        input_antialias: Whether images and windows are resized with antialiasing.
            torchvision did not for tensors below version 0.17, which Talk2DINO pins.
        window_batch_size: Windows run through the backbone together. None: one
            on a CPU, on a GPU what fits into memory (see :class:`WindowBatches`).
        window_softmax: Whether scores become a softmax over all text rows, at the size
            of each window, before windows are merged (where scores are merged; scores
            of the whole image at once stay as they are).
        resize_once: Whether scores are resized from the patch grid to the size of the
            original image at once, without the size of the input in between ('whole',
            without post-processors there).
        best_name_before_resize: Whether a class takes the best of its names before
            scores are resized to the size of the original image (LPOSS), not after.
        logit_scale: Factor of the merged scores before their softmax over all text
            rows, at the size of the original image. Makes scores probabilities, also
            those that ``seg_logits`` holds and a background score is compared with; a
            class has that of its best row. None: scores stay as they are.
        min_probability: Pixels whose best class has a lower probability become
            background. Needs ``logit_scale`` and a background among the classes.
        min_area: Classes that have no larger share of the pixels outside the
            background are left out. Needs ``logit_scale`` and a background.
        propagation: Scores are propagated over the patches of all windows of an image
            ('whole', 'slide'), see :class:`PropagationCfg`; the model needs ``graph``.
            None: they are not.
        chunk_mb: Size in MiB of the score maps that are resized, refined and merged
            together. Bounds the memory, does not change the result.
        keep_logits: Keep the scores of all classes at the size of the original image in
            ``seg_logits`` (large: classes x height x width x 4 bytes).
        refine: Whether post-processors that use the image (such as PAMR) run.
        seen_handicap: What the scores of classes met in training lose before the best
            one of a pixel is taken, in the units of ``seg_logits`` (with
            ``logit_scale``, of the scores before their softmax). Calibrated stacking:
            Chao et al., "An Empirical Study and Analysis of Generalized Zero-Shot
            Learning for Object Recognition in the Wild" (ECCV 2016, arXiv 1605.04253).
            None or 0: nothing.
    """

    mode: str = 'whole'
    crop_size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    image_size: tuple[int, int] | None = None
    aggregation: str = 'features'
    input_size: tuple[int, int] | None = None
    input_antialias: bool = True
    window_batch_size: int | None = None
    window_softmax: bool = False
    resize_once: bool = False
    best_name_before_resize: bool = False
    logit_scale: float | None = None
    min_probability: float | None = None
    min_area: float | None = None
    propagation: PropagationCfg | None = None
    chunk_mb: float = 30
    keep_logits: bool = False
    refine: bool = True
    seen_handicap: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f'test_cfg.mode has to be one of {MODES}: {self.mode!r}')
        if self.window_batch_size is not None and self.window_batch_size < 1:
            raise ValueError(
                'test_cfg.window_batch_size has to be at least 1, or None, not '
                f'{self.window_batch_size}'
            )
        if self.mode != 'whole' and not (self.crop_size and self.stride):
            raise ValueError(f'test_cfg.mode {self.mode!r} needs crop_size and stride')
        if self.mode == 'local-global':
            self._check_local_global()
        if self.resize_once and self.mode != 'whole':
            raise ValueError(
                f'test_cfg.resize_once is for mode "whole": in {self.mode!r} scores '
                'are merged at the size of the input'
            )
        self._check_probabilities()
        handicap = self.seen_handicap
        if handicap is not None and not (is_number(handicap) and handicap >= 0):
            raise ValueError(
                'test_cfg.seen_handicap is a number from 0 on, which the scores of '
                f'trained classes lose, not {handicap!r}'
            )
        if isinstance(self.propagation, Mapping):
            self.propagation = read_settings(
                PropagationCfg, 'test_cfg.propagation', self.propagation
            )
        elif not isinstance(self.propagation, PropagationCfg | None):
            raise ValueError(
                'test_cfg.propagation has to be a dict of settings (dict() for those '
                f'of LPOSS) or None, not {self.propagation!r}'
            )
        if self.propagation is not None and self.mode == 'local-global':
            raise ValueError(
                "test_cfg.propagation is for modes 'whole' and 'slide': in "
                "'local-global' windows have no scores of their own"
            )

    def _check_local_global(self) -> None:
        if self.aggregation not in AGGREGATIONS:
            raise ValueError(
                f'test_cfg.aggregation has to be one of {AGGREGATIONS}: '
                f'{self.aggregation!r}'
            )
        if not self.image_size:
            raise ValueError(
                "test_cfg.mode 'local-global' needs image_size, the height and width "
                'to which images are stretched'
            )
        crop, image = tuple(self.crop_size), tuple(self.image_size)
        if crop[0] > image[0] or crop[1] > image[1]:
            raise ValueError(
                f'test_cfg.crop_size {crop} has to fit into image_size {image}: '
                'windows are cut from the stretched image'
            )
        if self.aggregation == 'features' and self.input_size:
            raise ValueError(
                "test_cfg.input_size is for aggregation='logits': features of resized "
                'windows have no place on the grid of the whole image'
            )

    def _check_probabilities(self) -> None:
        for name in ('logit_scale', 'chunk_mb'):
            value = getattr(self, name)
            if not (is_positive(value) or (name == 'logit_scale' and value is None)):
                raise ValueError(f'test_cfg.{name} has to be positive, not {value!r}')
        if self.logit_scale is not None and self.window_softmax:
            raise ValueError(
                'test_cfg.window_softmax makes probabilities of windows, logit_scale '
                'of the whole image: give one of them'
            )
        if self.logit_scale is not None and self.best_name_before_resize:
            raise ValueError(
                'test_cfg.logit_scale makes probabilities of all names at the original '
                'size, before which best_name_before_resize leaves one name a class: '
                'give one of them'
            )
        for name in ('min_probability', 'min_area'):
            value = getattr(self, name)
            if value is None:
                continue
            if not (is_positive(value) or value == 0) or value > 1:
                raise ValueError(f'test_cfg.{name} has to be in 0..1, not {value!r}')
            if self.logit_scale is None:
                raise ValueError(
                    f'test_cfg.{name} is for probabilities: give test_cfg.logit_scale '
                    'too'
                )

    @property
    def merges_features(self) -> bool:
        """Whether feature maps of windows are averaged."""
        return self.mode == 'local-global' and self.aggregation == 'features'

    def check_head_softmax(self) -> None:
        """Refuse what does not go with a head of ``activation='softmax'``.

        Raises:
            OpenVocabError: Its probabilities would become another softmax, or a softmax
                over some of the rows.
        """
        for name in ('window_softmax', 'logit_scale'):
            if getattr(self, name):
                raise OpenVocabError(
                    "decode_head.activation='softmax' makes probabilities on the patch "
                    f'grid, and test_cfg.{name} another softmax of them: leave one out'
                )
        if self.mode == 'local-global' and self.aggregation == 'logits':
            raise OpenVocabError(
                "decode_head.activation='softmax' needs all text rows at once, and "
                "test_cfg.aggregation='logits' activates some at a time, after the "
                "resize: use mode 'slide' or aggregation='features'"
            )

    def background_of(self, vocabulary: Vocabulary) -> int | None:
        """Label of what ``min_probability`` and ``min_area`` leave; None without them.

        Raises:
            OpenVocabError: The vocabulary has no background, or one with a score of its
                own; or one with a score where names are compared first.
        """
        if self.best_name_before_resize and vocabulary.background_score is not None:
            raise OpenVocabError(
                'test_cfg.best_name_before_resize is for a background with names: set '
                'it to False, or leave the constant score of the background out'
            )
        asked = [n for n in ('min_probability', 'min_area') if getattr(self, n)]
        if not asked:
            return None
        if vocabulary.background_score is not None:
            raise OpenVocabError(
                f'test_cfg.{asked[0]} and a background with a constant score '
                f'({vocabulary.background_score:g}) are two rules for the background: '
                'give the background names, or leave test_cfg.logit_scale, '
                'min_probability and min_area out'
            )
        if vocabulary.background_class is None:
            raise OpenVocabError(
                f'test_cfg.{asked[0]} needs a background among the classes: add '
                "background=dict(type='names', names=['background', ...]) to the "
                f'vocabulary, or leave test_cfg.{asked[0]} out'
            )
        return vocabulary.background_class

    def handicaps(
        self, vocabulary: Vocabulary, trained: Sequence[str]
    ) -> Tensor | None:
        """What the scores of each class (N,) lose; None without ``seen_handicap``.

        Args:
            vocabulary: The classes.
            trained: Names met in training.

        Raises:
            OpenVocabError: The names met in training are not known, or the background
                is where no score is above a constant.
        """
        if not self.seen_handicap:
            return None
        if not trained:
            raise OpenVocabError(
                'test_cfg.seen_handicap is for the names met in training, and none are '
                'known: load a checkpoint that was trained on data with classes, which '
                'stores their names, or leave the setting out'
            )
        if vocabulary.background_score is not None:
            raise OpenVocabError(
                'test_cfg.seen_handicap lowers the scores of trained classes, which '
                'would turn into background where none is above '
                f'{vocabulary.background_score:g}: give the background names '
                "(background=dict(type='names', names=[...])), or leave one of both out"
            )
        return self.seen_handicap * seen_mask(vocabulary, trained).float()

    def windows(self, size: tuple[int, int]) -> list[Window]:
        """The windows of an image of a size."""
        if self.mode == 'whole':
            return window_grid(size, size, size)
        return window_grid(size, tuple(self.crop_size), tuple(self.stride))


@dataclass
class TrainCfg:
    """``train_cfg`` of :class:`OpenVocabSegmentor`.

    Attributes:
        input_size: Height and width to which images are resized (bilinear) before the
            backbone, while a teacher sees them as the training pipeline made them.
            None: as they are.
        input_antialias: Whether that resize is antialiased.
    """

    input_size: tuple[int, int] | None = None
    input_antialias: bool = True


Settings = TypeVar('Settings')  # a dataclass


def read_settings(
    kind: type[Settings], name: str, cfg: Mapping[str, Any] | None
) -> Settings:
    """The settings of a config.

    Args:
        kind: Which.
        name: What the config calls them.
        cfg: The config.

    Raises:
        OpenVocabError: A key is unknown, or a value does not fit.
    """
    known = [field.name for field in fields(kind)]
    for key in cfg or {}:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f'did you mean {close[0]!r}? ' if close else ''
            raise OpenVocabError(
                f'{name} has no setting {key!r}: {hint}Known are {", ".join(known)}.'
            )
    try:
        return kind(**(cfg or {}))
    except ValueError as error:
        raise OpenVocabError(str(error)) from error
