"""The heavy parts of a model in bfloat16, everything that is compared in float32."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from mmengine.model import Sequential
from torch import Tensor, nn

from ..models.decode_heads import TextSimilarityHead


def run_in_bfloat16(model: nn.Module) -> None:
    """Let backbone, necks and head of a built segmentor compute in bfloat16.

    Their weights stay float32 and are rounded as they are used, layer by layer, as
    ``torch.autocast`` sees fit; what they return is float32. Text vectors, heads that
    only compare (:class:`TextSimilarityHead`), and all that happens to scores after the
    head (resize, refinement, merging of windows, arg max) stay float32 altogether:
    bfloat16 holds 8 bits, too few to tell close scores apart.
    """
    parts = [model.backbone]
    if model.with_neck:
        parts += model.neck if isinstance(model.neck, Sequential) else [model.neck]
    if not isinstance(model.decode_head, TextSimilarityHead):
        parts.append(model.decode_head)
    for part in parts:
        part.forward = _in_bfloat16(part.forward, model)


def _in_bfloat16(forward: Callable, model: nn.Module) -> Callable:
    @functools.wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        device = next(model.parameters()).device.type
        with torch.autocast(device, torch.bfloat16):
            return _to_float32(forward(*args, **kwargs))

    return run


def _to_float32(value: Any) -> Any:
    """Tensors of 16 bits in (named) tuples, lists and dicts as float32."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if isinstance(value, dict):
        return {key: _to_float32(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        entries = [_to_float32(entry) for entry in value]
        return (
            type(value)(*entries) if hasattr(value, '_fields') else type(value)(entries)
        )
    return value
