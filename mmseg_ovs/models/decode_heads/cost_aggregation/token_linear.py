"""A linear layer of many tokens, by the faster of a CPU's two libraries."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ...utils import is_exporting

# On one CPU thread PyTorch hands 1x1 convolutions to oneDNN from this batch on.
_BATCH = 16


def token_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``, on a CPU as a 1x1 convolution.

    Convolutions run in oneDNN, matrix products in MKL, which uses half of what AMD
    processors can do.

    Args:
        x: Tokens (..., in).
        weight: (out, in).
        bias: (out,).

    Returns:
        (..., out), contiguous.
    """
    # A graph is run by other libraries, and has no count to decide by.
    if is_exporting() or x.device.type != 'cpu':
        return F.linear(x, weight, bias)
    count = x.shape[:-1].numel()
    if count % _BATCH:
        return F.linear(x, weight, bias)
    x_map = x.reshape(_BATCH, count // _BATCH, 1, -1).permute(0, 3, 1, 2)
    out = F.conv2d(x_map, weight[..., None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)
