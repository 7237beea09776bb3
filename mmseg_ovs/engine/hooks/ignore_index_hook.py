"""Unlabelled pixels mean the same to data, model and metrics."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_ovs.models.utils import unwrap_model

from ..ignore_values import check_ignore_values, metric_values, model_values


@HOOKS.register_module()
class IgnoreIndexHook(Hook):
    """Compare all ignore values of a run before its first step.

    Training compares the data set and its transforms with the heads, their losses and
    the ``seg_pad_val`` of the data preprocessor; validation and test compare them with
    the metrics. A difference raises ``IgnoreIndexError``. ``tools/train.py`` and
    ``tools/test.py`` add this hook.
    """

    def before_train(self, runner: Runner) -> None:
        """Training, and the validation during it."""
        check_ignore_values(
            runner.train_dataloader.dataset,
            'train_dataloader.dataset',
            model_values(unwrap_model(runner.model)),
        )
        if runner.val_loop is not None:
            self.before_val(runner)

    def before_val(self, runner: Runner) -> None:
        """Validation."""
        self._check_evaluation(runner, 'val')

    def before_test(self, runner: Runner) -> None:
        """Test."""
        self._check_evaluation(runner, 'test')

    @staticmethod
    def _check_evaluation(runner: Runner, what: str) -> None:
        loop, key = getattr(runner, f'{what}_loop'), f'{what}_evaluator'
        check_ignore_values(
            loop.dataloader.dataset,
            f'{what}_dataloader.dataset',
            metric_values(loop.evaluator.metrics, key, runner.cfg.get(key)),
        )
