"""MMEngine's runner, whose dumps go to the log file and not to the console."""

from __future__ import annotations

import logging
import re
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmseg.registry import RUNNERS

from mmseg_ovs.composition import ConfigError

# How the messages begin that describe a run in hundreds of lines, or that nobody can
# act on. The log file has all of them.
_DUMPS = re.compile(
    r'[\s-]*(System environment:|Config:|Hooks will be executed|paramwise_options --'
    r'|Exp name: |Checkpoints will be saved to |Distributed training is not used, all '
    r'|The prefix is not set in metric|"(FileClient|HardDiskBackend)" )'
)


def build_runner(cfg: Config) -> Runner:
    """The runner of a config, with a console that shows what is being done.

    With ``log_level = 'DEBUG'`` the console shows all that MMEngine says.

    Args:
        cfg: A whole config; ``runner_type`` chooses the class.

    Raises:
        ConfigError: There is no such class.
    """
    kind = cfg.get('runner_type', 'Runner')
    base = RUNNERS.get(kind)
    if base is None:
        raise ConfigError(f'runner_type {kind!r} is no registered runner')
    if cfg.get('log_level') in ('DEBUG', logging.DEBUG):
        return base.from_cfg(cfg)
    return type(base.__name__, (_QuietConsole, base), {}).from_cfg(cfg)


class _QuietConsole:
    """Goes before a runner class: its logger is made before anything is logged."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_no_dump)
        return logger


def _is_no_dump(record: logging.LogRecord) -> bool:
    return not _DUMPS.match(record.getMessage())
