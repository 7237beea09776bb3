"""The cost of all classes as a list of chunks."""

from __future__ import annotations

import torch
from torch import Tensor


def replace_chunk(chunks: list[Tensor], index: int, value: Tensor) -> None:
    """Put a new cost in the place of an old one.

    Without gradients it moves into the old one's memory. Memory that is given back
    piece by piece would be cut up by other tensors, and the process grow.
    """
    chunks[index] = value if torch.is_grad_enabled() else chunks[index].copy_(value)
