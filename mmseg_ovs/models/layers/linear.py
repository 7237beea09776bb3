"""The linear layer, in either of a CPU's two libraries."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..utils import is_exporting

# On one CPU thread PyTorch hands 1x1 convolutions to oneDNN from this batch on.
_BATCH = 16
# Of fewer tokens the detour costs what it gains.
_FEW = 128


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None, onednn: bool) -> Tensor:
    """``F.linear`` in one of two libraries.

    Args:
        x: Tokens (..., in).
        weight: (out, in).
        bias: (out,).
        onednn: See :class:`Linear`.

    Returns:
        (..., out).
    """
    # A graph is run by other libraries, and has no count to decide by.
    if (
        not onednn
        or is_exporting()
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


class Linear(nn.Linear):
    """``nn.Linear`` with a switch for the library that multiplies on a CPU.

    Matrix products run in MKL, which uses half of what AMD processors can do,
    convolutions in oneDNN. The results are equal within float error.

    Attributes:
        onednn: Multiply float32 tokens on a CPU as a 1x1 convolution. In bfloat16
            everything runs in oneDNN.
    """

    onednn = False

    def forward(self, x: Tensor) -> Tensor:
        return self.multiply(x, self.weight, self.bias)

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """``F.linear`` of tokens (..., in) with weights (out, in): (..., out)."""
        return multiply(x, weight, bias, self.onednn)


class MaskedKeyBiasLinear(Linear):
    """Linear layer for q, k and v whose key bias never acts.

    DINOv3 multiplies the bias by a mask that is 0 for the keys; the stored values there
    may be anything.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        mask = torch.ones(out_features)
        mask[out_features // 3 : 2 * out_features // 3] = 0
        self.register_buffer('bias_mask', mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.multiply(x, self.weight, self.bias * self.bias_mask)


class GuidedLinear(Linear):
    """Linear layer of tokens concatenated with guidance that many of them share.

    ``from_parts(x, share(guidance))`` is the layer of the concatenation.

    Args:
        dims: Channels of tokens, in and out.
        guidance_dims: Channels of the guidance; 0: none.
    """

    def __init__(self, dims: int, guidance_dims: int) -> None:
        super().__init__(dims + guidance_dims, dims)

    @property
    def own_weight(self) -> Tensor:
        """The weight of the tokens (dims, dims)."""
        return self.weight[:, : self.out_features]

    def share(self, guidance: Tensor) -> Tensor:
        """Guidance (..., G) to its share of the output, with the bias (..., dims)."""
        return F.linear(guidance, self.weight[:, self.out_features :], self.bias)

    def from_parts(self, x: Tensor, share: Tensor) -> Tensor:
        """Tokens (..., dims) and a share that broadcasts to them: (..., dims)."""
        return self.multiply(x, self.own_weight).add_(share)


def use_onednn(model: nn.Module, onednn: bool = True) -> None:
    """Set the library of every :class:`Linear`, and of all else that has a choice."""
    for module in model.modules():
        if hasattr(module, 'onednn'):
            module.onednn = onednn
