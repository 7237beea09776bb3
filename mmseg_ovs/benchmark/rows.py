"""The rows of a benchmark: what each is, and what is known of it on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_ovs.composition import (
    CompositionError,
    MissingDataError,
    OptionError,
    apply_options,
    check_data_files,
    compose,
)
from mmseg_ovs.composition.compose import TRAINING_KEYS
from mmseg_ovs.utils import replacing

from .identity import data_state, run_key
from .plan import DataEntry, ModelEntry, Plan

DONE, PENDING, ABSENT, FAILED = 'done', 'pending', 'absent', 'failed'
UNTRAINED, PUBLISHED = 'to be trained', 'published only'
PER_CLASS = 'per_class.csv'


@dataclass
class Row:
    """One model on one data set.

    Attributes:
        model, data: Of the plan.
        status: 'done', 'pending', 'absent' (the data), 'failed', 'to be trained'
            (there are no weights) or 'published only' (a method that is not here).
        reason: Why it is absent, failed or to be trained.
        missing: Which data are not there; empty if they are.
        folder: Where config, log and result lie; named by the hash of config, weights
            and data.
        result: What ``ProtocolHook`` wrote.
        settings: Whose: empty, or which of a common protocol it takes.
    """

    model: ModelEntry
    data: DataEntry
    status: str = PENDING
    reason: str = ''
    missing: str = ''
    folder: Path | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    settings: str = ''

    @property
    def title(self) -> str:
        """For messages."""
        return f'{self.model.name} on {self.data.name}'

    @property
    def metrics(self) -> Mapping[str, float]:
        """Figures in percent, empty if there are none."""
        return self.result.get('metrics', {})

    @property
    def protocol(self) -> Mapping[str, str]:
        """What the figures depend on."""
        return self.result.get('protocol', {})

    @property
    def random(self) -> bool:
        """Whether parts of the model had no weights."""
        return 'AT RANDOM' in self.protocol.get('weights', '')

    def read_result(self) -> None:
        """Take over the result of a finished run, if there is one."""
        path = self.folder / 'result.json'
        if not path.is_file():
            return
        self.result = json.loads(path.read_text(encoding='utf-8'))
        if self.metrics.get('mIoU') is None:
            self.fail(f'the evaluators report no mIoU: {dict(self.metrics)}')
        else:
            self.status, self.reason = DONE, ''

    def fail(self, reason: str) -> None:
        """Mark it as failed."""
        self.status, self.reason = FAILED, reason


def prepare_rows(plan: Plan, out: Path, allow_random: bool = False) -> list[Row]:
    """All rows of a plan: finished, absent, failed already, or ready to run.

    The whole config of each is written to its folder ``<out>/runs/<name>_<hash>``.

    Args:
        plan: The plan.
        out: Folder of the benchmark.
        allow_random: Models without weights are to be run.
    """
    rows = [Row(model, data) for model in plan.models for data in plan.datasets]
    for row in rows:
        if row.model.config is None:
            row.status = PUBLISHED
            continue
        try:
            if row.model.untrained and not allow_random:
                row.status, row.reason = UNTRAINED, row.model.untrained
                check_data_files(row_config(plan, row.model, row.data)[0], 'test')
            else:
                _prepare(row, plan, out)
        except MissingDataError as error:
            row.missing = str(error)
            if row.status != UNTRAINED:
                row.status, row.reason = ABSENT, row.missing
        except (CompositionError, OptionError) as error:
            row.fail(str(error))
        except Exception as error:  # a config that cannot be read stops no other row
            row.fail(f'{type(error).__name__}: {error}')
    return rows


def row_config(plan: Plan, model: ModelEntry, data: DataEntry) -> tuple[Config, str]:
    """The whole config of a test, and which of the plan's protocol it takes.

    Raises:
        CompositionError: Model and data set do not go together.
        OptionError: Nothing reads a setting of the plan.
    """
    cfg = compose(model.config, data.config)
    for key in TRAINING_KEYS:
        cfg.pop(key, None)
    settings = plan.protocol.apply(cfg, model.method_class) if plan.protocol else ''
    over = [
        *(k for k in (*plan.cfg_options, *data.cfg_options) if _changes_protocol(k)),
        *model.cfg_options,
    ]
    if settings and over:
        settings += f'; over it the plan sets {", ".join(dict.fromkeys(over))}'
    for options in (plan.cfg_options, data.cfg_options, model.cfg_options):
        apply_options(cfg, options)
    cfg.setdefault('randomness', dict(seed=0))
    cfg.load_from = model.checkpoint or cfg.get('load_from')
    return cfg, settings


def _changes_protocol(option: str) -> bool:
    """Whether an option is about what a common protocol sets."""
    return 'pipeline' in option or option.startswith(('model', 'default_hooks.voc'))


def _prepare(row: Row, plan: Plan, out: Path) -> None:
    cfg, row.settings = row_config(plan, row.model, row.data)
    state = data_state(cfg)
    key = run_key(cfg, state)
    name = re.sub(r'[^\w.-]+', '-', f'{row.model.name}_{row.data.name}')
    row.folder = out / 'runs' / f'{name}_{key[:16]}'
    row.read_result()
    if row.status != PENDING:
        return
    cfg.work_dir = str(row.folder / 'work')
    extra = {'data hash': f'SHA-256 {state.digest[:16]}', 'run hash': key[:16]}
    hook = dict(
        type='ProtocolHook', out_file=str(row.folder / 'result.json'), extra=extra
    )
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]
    _ask_for_classes(cfg, row.folder / PER_CLASS)
    row.folder.mkdir(parents=True, exist_ok=True)
    with replacing(row.folder / 'config.py') as temporary:
        cfg.dump(temporary)


def _ask_for_classes(cfg: Config, path: Path) -> None:
    """Let the first of our metrics write the figures of each class."""
    evaluators = cfg.test_evaluator
    evaluators = [evaluators] if isinstance(evaluators, Mapping) else list(evaluators)
    for evaluator in evaluators:
        if evaluator['type'] == 'OpenVocabIoUMetric':
            evaluator['per_class_csv'] = str(path)
            break
    cfg.test_evaluator = evaluators
