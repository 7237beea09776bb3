"""A model without values: what it consists of and needs, in a tenth of a second."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn
from torch.overrides import TorchFunctionMode

from .random_parts import proxies


class _NumbersOnCPU(TorchFunctionMode):
    """Keeps values where constructors ask for them: rates of stochastic depth."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault('device', 'cpu')
        return func(*args, **kwargs)


def outline_model(cfg: Mapping, scope: str = 'mmseg') -> nn.Module:
    """Build a model and its proxies on PyTorch's meta device, which stores no values.

    Args:
        cfg: The ``model`` of a config.
        scope: The config's ``default_scope``.

    Raises:
        RuntimeError: A constructor computes with values.
    """
    init_default_scope(scope)
    with torch.device('meta'), _NumbersOnCPU():
        model = MODELS.build(cfg)
        for _ in proxies(model):  # built here, so on the same device
            pass
    return model
