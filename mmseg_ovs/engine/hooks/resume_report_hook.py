"""Says which settings a resumed training takes from its checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_ovs.utils import OpenVocabError

from ..config_changes import config_changes

# What mmengine takes from a checkpoint: the states of the optimizer and of the
# schedulers, and the seed.
_KEPT = (
    'optim_wrapper.optimizer.',
    'optim_wrapper.paramwise_cfg.',
    'param_scheduler.',
    'randomness.seed',
    'auto_scale_lr.',
)
_TYPES = re.compile(r'(optim_wrapper\.optimizer|param_scheduler\.\d+)\.type')
_SHOWN = 20


class ResumeError(OpenVocabError):
    """A training that cannot be resumed with this config."""


@HOOKS.register_module()
class ResumeReportHook(Hook):
    """Compare the config of a resumed training with that in its checkpoint.

    MMEngine prints the new config, but the checkpoint's optimizer and schedulers
    replace its learning rate and schedule. ``tools/train.py`` adds this hook.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Warn about the settings that differ.

        Raises:
            ResumeError: The optimizer or a scheduler is of another type.
        """
        text = (checkpoint.get('meta') or {}).get('cfg')
        if not runner._resume or not text:
            return
        changes = config_changes(text, runner.cfg.pretty_text)
        _refuse_other_types(changes)
        kept = {k: v for k, v in changes.items() if _is_kept(k, changes)}
        lines = [
            f'  {k}: {old or "not set"} in the checkpoint, {new or "not set"} in the '
            'config'
            for k, (old, new) in kept.items()
        ]
        if kept:
            runner.logger.warning(
                'The checkpoint overrides these settings of the config:\n'
                f'{_first(lines)}\n'
                'For a new learning rate or schedule start a training from its '
                'weights, in another work folder: without --resume, with '
                '--cfg-options load_from=CHECKPOINT'
            )
        lines = [
            f'  {k}: {old or "not set"} -> {new or "not set"}'
            for k, (old, new) in changes.items()
            if k not in kept
        ]
        if lines:
            runner.logger.warning(
                f'These other settings changed and take effect:\n{_first(lines)}'
            )


def _refuse_other_types(changes: Mapping[str, tuple[str | None, str | None]]) -> None:
    """MMEngine would put the state of one class into another."""
    for key, (old, new) in changes.items():
        if _TYPES.fullmatch(key) and old and new:
            raise ResumeError(
                f'--resume cannot change {key} from {old} to {new}: the state in the '
                'checkpoint belongs to the former. Start a training from its weights: '
                'without --resume, with --cfg-options load_from=CHECKPOINT'
            )


def _is_kept(key: str, changes: Mapping[str, tuple[str | None, str | None]]) -> bool:
    """Whether the checkpoint overrides a setting; a scheduler that it lacks is new."""
    if not key.startswith(_KEPT):
        return False
    scheduler = '.'.join(key.split('.')[:2])
    return changes.get(f'{scheduler}.type', ('', ''))[0] is not None


def _first(lines: list[str]) -> str:
    more = [f'  and {len(lines) - _SHOWN} more'] if len(lines) > _SHOWN else []
    return '\n'.join(lines[:_SHOWN] + more)
