"""Training whose weights are sharded over processes: MMEngine's FSDP for our models.

A config inherits ``_base_/strategies/fsdp.py``; see docs/scale_out.md.
"""

from __future__ import annotations

from typing import Any

from mmengine._strategy import FSDPStrategy
from mmengine.device import get_device
from mmengine.dist import all_reduce, is_distributed, is_main_process
from mmengine.optim import OptimWrapper
from mmengine.registry import FUNCTIONS, STRATEGIES
from torch import Tensor, nn
from torch.distributed.fsdp import (
    FullStateDictConfig,
    FullyShardedDataParallel,
    StateDictType,
)

from mmseg_ovs.models.text_encoders import BaseTextEncoder
from mmseg_ovs.models.utils import unwrap_model
from mmseg_ovs.utils import replacing

# By name, since importing open_clip takes seconds.
BLOCKS = {
    'mmseg_ovs.models.layers.vit_block.ViTBlock',  # DINO, CLIP's images, dino.txt
    'segment_anything.modeling.image_encoder.Block',
    'open_clip.transformer.ResidualAttentionBlock',
    'open_clip.transformer.CustomResidualAttentionBlock',
}


@FUNCTIONS.register_module()
def transformer_blocks(
    module: nn.Module, recurse: bool, nonwrapped_numel: int = 0
) -> bool:
    """Wrap policy: each transformer block of a trunk or a text tower is one unit.

    The rest of the model (embeddings, necks, heads) forms the outermost unit. Frozen
    text encoders are left as they are.

    Args:
        module: The module in question.
        recurse: Whether the question is to look inside it, not to wrap it.
        nonwrapped_numel: Not used.
    """
    if recurse:
        return not _is_frozen_text_encoder(module)
    return any(
        f'{kind.__module__}.{kind.__qualname__}' in BLOCKS
        for kind in type(module).__mro__
    )


def _is_frozen_text_encoder(module: nn.Module) -> bool:
    return isinstance(module, BaseTextEncoder) and not module.trainable


@STRATEGIES.register_module()
class OpenVocabFSDPStrategy(FSDPStrategy):
    """``FSDPStrategy`` with what our models need, and three repairs.

    - Each transformer block is a unit (:func:`transformer_blocks`). Every process has
      the whole of frozen text encoders, which run once for each vocabulary, and of
      scalars such as logit scales, which FSDP does not take.
    - Checkpoints are whole, as those of DDP: any config tests or resumes them.
    - Gradients are clipped by their norm over all shards (mmengine takes that of the
      own shard); the optimizer's state can be resumed with any torch (mmengine's call
      fits the first releases of FSDP alone); it runs on CPUs with gloo, for tests.

    Args:
        model_wrapper: Arguments of ``MMFullyShardedDataParallel`` that differ, such as
            ``mixed_precision`` or ``sharding_strategy``.
        state_dict_cfg: How checkpoints are saved, see ``FSDPStrategy``.
        **kwargs: See ``FSDPStrategy``.
    """

    def __init__(
        self,
        *,
        model_wrapper: dict | None = None,
        state_dict_cfg: str | dict = 'full',
        **kwargs,
    ) -> None:
        wrapper = dict(
            type='MMFullyShardedDataParallel', auto_wrap_policy='transformer_blocks'
        )
        super().__init__(
            model_wrapper={**wrapper, **(model_wrapper or {})},
            state_dict_cfg=state_dict_cfg,
            **kwargs,
        )

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        """Wrap the model.

        Raises:
            RuntimeError: There is no process group, or a parameter has a gradient
                hook, which FSDP would not call.
        """
        if not is_distributed():
            raise RuntimeError(
                'FSDP shards a model over processes: start the training with '
                'tools/dist_train.sh, or under torchrun with --launcher pytorch'
            )
        hooked = [n for n, p in model.named_parameters() if p._backward_hooks]
        if hooked:
            raise RuntimeError(
                f'FSDP does not call gradient hooks, and {hooked[0]} has one, as '
                f"{len(hooked)} parameters have (trainable='query_value' sets them). "
                "Train with DDP, or with trainable='attention'."
            )
        device = get_device()
        whole = []
        for part in filter(_is_frozen_text_encoder, model.modules()):
            whole += part.to(device).parameters()
        for parameter in model.parameters():
            if not parameter.ndim:
                parameter.data = parameter.data.to(device)
                if parameter.requires_grad:
                    parameter.register_post_accumulate_grad_hook(_average_gradient)
                whole.append(parameter)
        self.model_wrapper['ignored_states'] = whole
        if device == 'cpu':
            self.model_wrapper['device_id'] = 'cpu'
            # Moving what is there already, torch would free it before it is copied.
            self.state_dict_config.offload_to_cpu = False
        return super()._wrap_model(model)

    def build_optim_wrapper(
        self, optim_wrapper: OptimWrapper | dict, model: nn.Module | None = None
    ) -> OptimWrapper:
        """Build it; its clipping by norm sees the gradients of all processes."""
        wrapper = super().build_optim_wrapper(optim_wrapper, model)
        if getattr(wrapper, 'clip_func', None) is nn.utils.clip_grad_norm_:
            wrapper.clip_func = lambda parameters, **kwargs: model.clip_grad_norm_(
                **kwargs
            )
        return wrapper

    def save_checkpoint(self, filename: str, **kwargs: Any) -> None:
        """Save a checkpoint; a whole one is written whole or not at all."""
        if self._is_full_state_dict() and is_main_process():
            with replacing(filename) as temporary:
                super().save_checkpoint(str(temporary), **kwargs)
        else:
            super().save_checkpoint(filename, **kwargs)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load the optimizer's state of a checkpoint."""
        optimizer = self.optim_wrapper.optimizer
        state_dict = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(state_dict)


def _average_gradient(parameter: nn.Parameter) -> None:
    all_reduce(parameter.grad, 'mean')


def whole_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """State dict of the model inside its wrappers, gathered if it is sharded.

    To be called by all processes, which all get it.
    """
    if not isinstance(model, FullyShardedDataParallel):
        return unwrap_model(model).state_dict()
    with FullyShardedDataParallel.state_dict_type(
        model,
        StateDictType.FULL_STATE_DICT,
        FullStateDictConfig(offload_to_cpu=get_device() != 'cpu', rank0_only=False),
    ):
        return model.state_dict()
