"""A linear layer of many tokens, by the faster of a CPU's two libraries."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils import is_exporting

# On one CPU thread PyTorch hands 1x1 convolutions to oneDNN from this batch on.
_BATCH = 16
# Of fewer tokens the detour costs what it gains.
_FEW = 128


def token_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``, of float32 on a CPU as a 1x1 convolution.

    Convolutions run in oneDNN, matrix products in MKL, which uses half of what AMD
    processors can do. In bfloat16 both run in oneDNN.

    Args:
        x: Tokens (..., in).
        weight: (out, in).
        bias: (out,).

    Returns:
        (..., out), contiguous.
    """
    # A graph is run by other libraries, and has no count to decide by.
    if (
        is_exporting()
        or x.device.type != 'cpu'
        or x.dtype != torch.float32
        or torch.is_autocast_enabled('cpu')
    ):
        return F.linear(x, weight, bias)
    count = x.shape[:-1].numel()
    if count < _FEW:
        return F.linear(x, weight, bias)
    tokens = x.reshape(count, x.shape[-1])
    missing = -count % _BATCH
    if missing:
        tokens = F.pad(tokens, (0, 0, 0, missing))
    x_map = tokens.view(_BATCH, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)
    out = F.conv2d(x_map, weight[..., None, None], bias)
    out = out.permute(0, 2, 3, 1).reshape(count + missing, -1)
    return out[:count].view(*x.shape[:-1], -1)
