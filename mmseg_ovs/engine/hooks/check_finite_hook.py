"""A training that diverges stops, and its last good checkpoint stays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmseg_ovs.utils import NonFiniteError, some_of


@HOOKS.register_module()
class CheckFiniteHook(Hook):
    """Stop at a loss that is NaN or infinite; write no such weights.

    Losses are compared at every step. That waits for nothing: MMEngine's
    ``RuntimeInfoHook`` reads each of them back at every step anyway. Gradients are not
    looked at, which with mixed precision are infinite from time to time (the scaler
    skips such steps). Weights are looked at before a checkpoint is written, since a
    step can break them after a finite loss. ``tools/train.py`` adds this hook.
    """

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Sequence[dict] | None = None,
        outputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Check the losses of the step.

        Raises:
            NonFiniteError: One is NaN or infinite; names all losses and the step.
        """
        losses = {k: v.item() for k, v in (outputs or {}).items() if 'loss' in k}
        if not all(map(math.isfinite, losses.values())):
            values = ', '.join(f'{name} = {value:g}' for name, value in losses.items())
            raise NonFiniteError(
                f'the training diverged at iteration {runner.iter + 1}: {values}. '
                f'{_remedy(runner)}'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights, also those that ``EMAHook`` keeps beside them.

        Raises:
            NonFiniteError: Some are NaN or infinite; the checkpoint is not written.
        """
        broken = [
            name
            for part in ('state_dict', 'ema_state_dict')
            for name, value in checkpoint.get(part, {}).items()
            if not value.isfinite().all()
        ]
        if broken:
            raise NonFiniteError(
                f'the training diverged: {len(broken)} weights are NaN or infinite '
                f'({some_of(broken)}). They were not saved. {_remedy(runner)}'
            )


def _remedy(runner: Runner) -> str:
    pointer = Path(runner.work_dir) / 'last_checkpoint'
    start = 'start again'
    if pointer.is_file():
        start += f' (from the last good checkpoint: load_from={pointer.read_text()})'
    return (
        'Lower the learning rate (optim_wrapper.optimizer.lr) or clip gradients '
        f'(optim_wrapper.clip_grad.max_norm), and {start}'
    )
