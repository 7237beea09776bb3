"""Gives the vocabulary of the running data set to the model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import HOOKS

from mmseg_ovs.models.utils import unwrap_model
from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.structures.seen_names import seen_by_name, seen_mask


@HOOKS.register_module()
class VocabularyHook(Hook):
    """Set the model's vocabulary before training, validation and testing.

    The class names are those of the data set's ``metainfo``. To give other
    words to the text encoder, set ``vocabulary`` (with the same number of classes).

    Args:
        vocabulary: Replaces the data set's names at validation and test time; anything
            that :meth:`Vocabulary.build` takes.
        background: Background rule at validation and test time, for example
            ``dict(type='threshold', value=0.55)``; see :meth:`Vocabulary.build`.
    """

    def __init__(
        self, vocabulary: object | None = None, background: dict | None = None
    ) -> None:
        self.vocabulary = vocabulary
        self.background = background

    @staticmethod
    def _model(runner: Runner):
        return unwrap_model(runner.model)

    def evaluated_vocabulary(self, metainfo: dict) -> Vocabulary:
        """The vocabulary of a test on a data set with this ``metainfo``.

        Raises:
            ValueError: ``vocabulary`` has another number of classes.
        """
        own = Vocabulary.from_metainfo(metainfo)
        source = own if self.vocabulary is None else self.vocabulary
        if self.background is not None:
            source = dict(source=source, background=self.background)
        vocabulary = Vocabulary.build(source)
        if vocabulary.num_classes != own.num_classes:
            raise ValueError(
                f'VocabularyHook.vocabulary has {vocabulary.num_classes} classes, the '
                f'data set {own.num_classes}: label i of the vocabulary has to mean '
                'class i of the data set'
            )
        return vocabulary

    def _set_training_vocabulary(self, runner: Runner) -> None:
        metainfo = runner.train_dataloader.dataset.metainfo
        # Masks of nouns have no classes, and captions have neither.
        names = metainfo.get('classes') or metainfo.get('nouns')
        if names:
            model = self._model(runner)
            model.set_vocabulary(Vocabulary.build(names))
            model.remember_training(metainfo)

    def before_train(self, runner: Runner) -> None:
        """Training data: its classes or nouns, if it has any."""
        self._set_training_vocabulary(runner)

    def before_val(self, runner: Runner) -> None:
        """Validation data, with ``vocabulary`` and ``background``."""
        self._set_evaluated_vocabulary(runner, runner.val_loop)

    def after_val(self, runner: Runner) -> None:
        """Training goes on with its own classes."""
        if runner.train_loop is not None and hasattr(runner, 'train_dataloader'):
            self._set_training_vocabulary(runner)

    def before_test(self, runner: Runner) -> None:
        """Test data, with ``vocabulary`` and ``background``."""
        self._set_evaluated_vocabulary(runner, runner.test_loop)

    def _set_evaluated_vocabulary(self, runner: Runner, loop: BaseLoop) -> None:
        model = self._model(runner)
        metainfo = loop.dataloader.dataset.metainfo
        vocabulary = self.evaluated_vocabulary(metainfo)
        model.set_vocabulary(vocabulary)
        seen = seen_mask(vocabulary, model.trained_names)
        handicap = (model.test_cfg or {}).get('seen_handicap')
        if handicap and seen.all() == seen.any():
            share = 'all' if seen.all() else 'none'
            print_log(
                f'test_cfg.seen_handicap={handicap:g} changes nothing: of the '
                f'{len(seen)} classes of the data {share} are among the trained names',
                logger='current',
                level=logging.WARNING,
            )
        for metric in loop.evaluator.metrics:
            self._warn_of_hidden(metric, metainfo, model.trained_names)

    @staticmethod
    def _warn_of_hidden(
        metric: BaseMetric, metainfo: Mapping[str, Any], trained: Sequence[str]
    ) -> None:
        """Scores of seen classes are not to hold some that training has hidden."""
        if getattr(metric, 'seen_vocabulary', None):
            return
        told = getattr(metric, 'seen_classes', None)
        seen = told or metainfo.get('seen_classes') or ()
        hidden = sorted(set(seen) - set(seen_by_name(seen, trained)))
        if trained and hidden:
            print_log(
                f'{type(metric).__name__} counts classes as seen that are not among '
                f'the trained names: {", ".join(hidden)}. Give it the others as '
                'seen_classes',
                logger='current',
                level=logging.WARNING,
            )
