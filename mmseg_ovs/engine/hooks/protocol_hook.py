"""Prints and writes how a test was done, beside its figures."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_ovs.evaluation.protocol import (
    describe_protocol,
    describe_switches,
    format_protocol,
)
from mmseg_ovs.jobs import write_json


@HOOKS.register_module()
class ProtocolHook(Hook):
    """Write a JSON file with ``metrics``, ``protocol`` and ``seconds`` after a test.

    The protocol is also logged. With a checkpoint that knows it, it has the seed of the
    training. ``tools/test.py`` adds this hook.

    Args:
        out_file: The file; by default ``protocol.json`` beside the log of the run.
        extra: Further lines of the protocol that the caller knows, at its end.
    """

    priority = 'VERY_LOW'  # the figures are on disk already

    def __init__(
        self, out_file: str | None = None, extra: Mapping[str, str] | None = None
    ) -> None:
        self.out_file = out_file
        self.extra = dict(extra or {})
        self._start = 0.0
        self._protocol: dict[str, str] = {}
        self._training_seed: int | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note the seed of the training, which mmengine keeps in the checkpoint."""
        self._training_seed = (checkpoint.get('meta') or {}).get('seed')

    @master_only
    def before_test_epoch(self, runner: Runner) -> None:
        """Describe the model while it is whole, and start the clock."""
        self._protocol = describe_protocol(runner.model, runner.cfg, runner.seed)
        self._start = time.perf_counter()

    @master_only
    def after_test_epoch(
        self, runner: Runner, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Log and write."""
        seconds = time.perf_counter() - self._start
        protocol = {**self._protocol, **describe_switches(runner.model)}
        if self._training_seed is not None:
            protocol['training seed'] = str(self._training_seed)
        protocol['images'] = str(len(runner.test_dataloader.dataset))
        protocol.update(self.extra)
        path = Path(self.out_file or Path(runner.log_dir) / 'protocol.json')
        content = dict(
            metrics={k: _number(v) for k, v in (metrics or {}).items()},
            protocol=protocol,
            seconds=round(seconds, 2),
        )
        write_json(path, content)
        block = format_protocol(protocol)
        runner.logger.info(f'Protocol (written to {path}):\n{block}')


def _number(value: object) -> float | None:
    """A number that JSON has, of four decimals; nan becomes None."""
    number = round(float(value), 4)
    return number if math.isfinite(number) else None
