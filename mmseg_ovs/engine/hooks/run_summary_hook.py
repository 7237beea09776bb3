"""The first lines of a run: what was read, what runs, how long it may take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import HOOKS
from torch.utils.data import DataLoader

_MEASURED = 3  # the first iteration also warms up, the next two are timed


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Says in a few lines what a training or a test does, and how long it may take.

    ``tools/train.py`` and ``tools/test.py`` add it. It comes after hooks that change
    the model or the data.
    """

    priority = 'VERY_LOW'

    def before_run(self, runner: Runner) -> None:
        """Name data, model and log file."""
        if isinstance(runner._train_loop, BaseLoop):
            lines = _training(runner)
        elif isinstance(runner._test_loop, BaseLoop):
            lines = [f'Tests on {_data(runner.test_dataloader)}']
        else:
            lines = [f'Validates on {_data(runner.val_dataloader)}']
        log = runner.logger.log_file
        if log:
            lines.append(f'Environment, config and hooks are in {_shown(log)}')
        for line in lines:
            runner.logger.info(line)

    def before_train(self, runner: Runner) -> None:
        """Start the clock for a training."""
        self._todo = runner.max_iters - runner.iter
        self._done = 0

    def before_test(self, runner: Runner) -> None:
        """Start the clock for a test."""
        self._todo = len(runner.test_dataloader)
        self._done = 0

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Estimate the time of a training once."""
        self._measure(runner, 'iterations')

    def after_test_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Estimate the time of a test once."""
        self._measure(runner, 'batches')

    def _measure(self, runner: Runner, what: str) -> None:
        self._done += 1
        if self._done == 1:
            self._since = time.monotonic()
        if self._done != _MEASURED or self._todo <= _MEASURED:
            return
        each = (time.monotonic() - self._since) / (_MEASURED - 1)
        whole = timedelta(seconds=max(1, round(each * self._todo)))
        runner.logger.info(
            f'{self._todo} {what} may take {whole} (h:mm:ss; {each:.2f} s each)'
        )


def _training(runner: Runner) -> list[str]:
    loop, model = runner.train_loop, runner.model
    weights = [p for p in model.parameters() if p.requires_grad]
    trained = sum(p.numel() for p in weights) / 1e6
    whole = sum(p.numel() for p in model.parameters()) / 1e6
    lines = [
        f'Trains {trained:.1f} of {whole:.1f} million weights on '
        f'{_data(loop.dataloader)}, {loop.dataloader.batch_size or "?"} a batch, until '
        f'iteration {loop.max_iters}'
    ]
    if isinstance(runner._val_loop, BaseLoop):
        lines.append(f'Validates on {_data(runner.val_dataloader)}')
    lines.append(f'Checkpoints go to {_shown(runner.work_dir)}')
    return lines


def _data(loader: DataLoader) -> str:
    """For instance ``1449 images of PascalVOCDataset in data/VOCdevkit/VOC2012``."""
    datasets: Sequence[Any] = [loader.dataset]
    while hasattr(datasets[0], 'dataset') or hasattr(datasets[0], 'datasets'):
        inner = datasets[0]
        datasets = inner.datasets if hasattr(inner, 'datasets') else [inner.dataset]
    kinds = ', '.join(dict.fromkeys(type(dataset).__name__ for dataset in datasets))
    root = getattr(datasets[0], 'data_root', None)
    place = f' in {root}' if root and len(datasets) == 1 else ''
    return f'{len(loader.dataset)} images of {kinds}{place}'


def _shown(path: str) -> str:
    """A path relative to the working folder, if it is inside."""
    full, here = Path(path).resolve(), Path.cwd()
    return str(full.relative_to(here)) if full.is_relative_to(here) else str(full)
