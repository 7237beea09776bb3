"""Feed-forward networks of the DINO family, in the authors' key layout.

``Mlp``: facebookresearch/dinov2 and dinov3, S to L. ``QuickGELUMlp``: OpenAI's CLIP.
``SwiGLUFused``: DINOv2 giant, one matrix for gate and value. ``SwiGLU``: DINOv3 plus
models, 7B and the dino.txt head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear


def swiglu_hidden_dims(dims: int, ratio: float, align: int) -> int:
    """Hidden width of a SwiGLU: two thirds of ``dims * ratio``, rounded up to align."""
    hidden = int(int(dims * ratio) * 2 / 3)
    return (hidden + align - 1) // align * align


class Mlp(nn.Module):
    """Linear, exact GELU, linear. (..., dims) -> (..., dims)."""

    def __init__(self, dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.fc1 = Linear(dims, hidden_dims)
        self.fc2 = Linear(hidden_dims, dims)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class QuickGELUMlp(Mlp):
    """As :class:`Mlp`, with CLIP's approximation of GELU, x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class SwiGLUFused(nn.Module):
    """SiLU(first half of w12(x)) * second half, then w3. (..., dims) -> same."""

    def __init__(self, dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.w12 = Linear(dims, 2 * hidden_dims)
        self.w3 = Linear(hidden_dims, dims)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)


class SwiGLU(nn.Module):
    """SiLU(w1(x)) * w2(x), then w3. (..., dims) -> (..., dims)."""

    def __init__(self, dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.w1 = Linear(dims, hidden_dims)
        self.w2 = Linear(dims, hidden_dims)
        self.w3 = Linear(hidden_dims, dims)

    def forward(self, x: Tensor) -> Tensor:
        return self.w3(F.silu(self.w1(x)) * self.w2(x))
