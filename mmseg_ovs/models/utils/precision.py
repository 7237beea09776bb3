"""Results of parts that compute in a lower precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def to_float32(value: Any) -> Any:
    """Tensors in bfloat16 as float32, also in (named) tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if isinstance(value, dict):
        return {key: to_float32(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        entries = [to_float32(entry) for entry in value]
        return (
            type(value)(*entries) if hasattr(value, '_fields') else type(value)(entries)
        )
    return value
