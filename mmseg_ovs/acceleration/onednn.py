"""Linear layers of a model in oneDNN, the faster library on many CPUs."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ..models.layers import MaskedKeyBiasLinear, token_linear


def run_linears_in_onednn(model: nn.Module) -> None:
    """Let linear layers compute by :func:`token_linear`.

    PyTorch multiplies float32 matrices in MKL, which runs at half speed on processors
    that are not Intel's. Equal within float error. On GPUs, and in bfloat16, nothing
    changes.

    Args:
        model: Any model. Subclasses of ``nn.Linear`` that compute otherwise stay as
            they are.
    """
    for module in model.modules():
        if isinstance(module, MaskedKeyBiasLinear):
            module.forward = partial(_masked_linear, module)
        elif type(module).forward is nn.Linear.forward:
            module.forward = partial(_linear, module)


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return token_linear(x, layer.weight, layer.bias)


def _masked_linear(layer: MaskedKeyBiasLinear, x: Tensor) -> Tensor:
    return token_linear(x, layer.weight, layer.masked_bias)
