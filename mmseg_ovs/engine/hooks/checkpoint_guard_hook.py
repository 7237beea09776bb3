"""No checkpoint is loaded half: what does not fit is an error, not a log line."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_ovs.models.utils import complete_state, find_state_dict, unwrap_model

from ..sharding import whole_state_dict


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Check a checkpoint against the model before mmengine loads it leniently.

    A *whole* part (a direct child of the model such as ``backbone``) that the
    checkpoint lacks keeps the weights of its own ``init_cfg``, so that checkpoints of a
    head alone work with published towers. So does a network inside a part that names
    its own file (a frozen prior among the necks). Anything else that is missing,
    unexpected or of another shape raises ``CheckpointError``.

    Args:
        allow: Regular expressions of keys that may be missing or unexpected.
    """

    priority = 'VERY_HIGH'

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self.allow = tuple(allow)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put what the model needs of the checkpoint in place, or refuse it."""
        state = find_state_dict(checkpoint, 'The checkpoint')
        model = runner.model
        checkpoint['state_dict'] = complete_state(
            unwrap_model(model),
            state,
            'The checkpoint',
            self.allow,
            whole_state_dict(model),
        )
        model = unwrap_model(model)
        if hasattr(model, 'remember_training'):
            model.remember_training((checkpoint.get('meta') or {}).get('dataset_meta'))
