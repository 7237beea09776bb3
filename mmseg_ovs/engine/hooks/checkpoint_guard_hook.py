"""No checkpoint is loaded half: what does not fit is an error, not a log line."""

from __future__ import annotations

import re

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from mmseg_ovs.models.utils import CheckpointError, describe_mismatch


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Check a checkpoint against the model before mmengine loads it leniently.

    A *whole* part (a direct child of the model such as ``backbone``) that the
    checkpoint lacks is initialised from its own ``init_cfg``, so that checkpoints of a
    head alone work with published towers. Anything else that is missing, unexpected or
    of another shape raises.

    Args:
        allow: Regular expressions of keys that may be missing or unexpected.
    """

    priority = 'VERY_HIGH'

    def __init__(self, allow: tuple[str, ...] = ()) -> None:
        self.allow = [re.compile(pattern) for pattern in allow]

    def _allowed(self, key: str) -> bool:
        return any(pattern.search(key) for pattern in self.allow)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the checkpoint's state dict with the model's."""
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        state = checkpoint.get('state_dict', checkpoint)
        state = {k.removeprefix('module.'): v for k, v in state.items()}
        own = model.state_dict()
        for name, part in model.named_children():
            keys = [k for k in own if k.startswith(f'{name}.')]
            if keys and not any(k in state for k in keys):
                self._initialise(name, part)
                state.update({k: own[k] for k in keys})
        state = {k: v for k, v in state.items() if k in own or not self._allowed(k)}
        allowed = [k for k in own if k not in state and self._allowed(k)]
        state.update({k: own[k] for k in allowed})
        mismatch = describe_mismatch(model, state)
        if mismatch:
            raise CheckpointError(
                'The checkpoint does not fit the model of this config. Are they of the '
                f'same architecture?\n{mismatch}'
            )

    @staticmethod
    def _initialise(name: str, part: nn.Module) -> None:
        if not hasattr(part, 'init_weights'):
            raise CheckpointError(
                f'The checkpoint has no weights for {name!r}, which has no init_cfg '
                'that could bring them'
            )
        print_log(
            f'The checkpoint has no weights for {name!r}: loading them as its own '
            'config says',
            logger='current',
        )
        part.init_weights()
