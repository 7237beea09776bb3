"""Linear layers of a model in oneDNN, the faster library on many CPUs."""

from __future__ import annotations

from torch import nn

from mmseg_ovs.models.layers import Linear, use_onednn


def run_linears_in_onednn(model: nn.Module, onednn: bool = True) -> None:
    """Let linear layers multiply in oneDNN (see :class:`Linear`), or in MKL.

    A plain ``nn.Linear`` of another package is replaced by a :class:`Linear` of the
    same parameters, so checkpoints keep their keys; its subclasses stay as they are.
    Equal within float error. On GPUs, and in bfloat16, nothing changes.

    Args:
        model: Any module.
        onednn: False: in MKL, also what is built for oneDNN (cost aggregation,
            AnyUp's encoders).
    """
    if onednn:
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if type(child) is nn.Linear:
                    setattr(parent, name, _with_switch(child))
    use_onednn(model, onednn)


def _with_switch(linear: nn.Linear) -> Linear:
    """The same layer: parameters, hooks and mode are shared."""
    layer = Linear.__new__(Linear)
    vars(layer).update(vars(linear))
    return layer
