"""Which part of a model cannot be exported."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.export import Dim
from torch.utils._pytree import tree_leaves, tree_map

# What torch.export takes for inputs.
_INPUTS = (torch.Tensor, int, float, bool, str, type(None))

Attempt = Callable[[nn.Module, tuple, Any], object]


def find_culprit(
    module: nn.Module,
    args: tuple[Any, ...],
    attempt: Attempt,
    free: tuple[int, ...],
    error: Exception,
    name: str = 'the model',
) -> tuple[str, nn.Module, Exception]:
    """The smallest part of a module that fails by itself.

    Args:
        module: The module that failed.
        args: Its inputs.
        attempt: Exports a module; gets the inputs and ``dynamic_shapes``.
        free: Values of the free sizes, by which they are recognised.
        error: How the module failed.
        name: What it is called.

    Returns:
        Dotted name, module and its error.
    """
    for child, inputs in _calls(module, args).items():
        if not all(isinstance(leaf, _INPUTS) for leaf in tree_leaves(inputs)):
            continue  # it can only be traced as a part of this module
        part = module.get_submodule(child)
        free_sides = tree_map(lambda value: _free_sides(value, free), inputs)
        try:
            attempt(part, inputs, free_sides)
        except Exception as own_error:  # whatever tracing and translation may raise
            path = child if name == 'the model' else f'{name}.{child}'
            return find_culprit(part, inputs, attempt, free, own_error, path)
    return name, module, error


def _calls(module: nn.Module, args: tuple[Any, ...]) -> dict[str, tuple[Any, ...]]:
    """First inputs of the outermost parts that a module calls, in order."""
    calls: dict[str, tuple[Any, ...]] = {}
    depth = 0

    def enter(name: str, part: nn.Module, args: tuple, kwargs: dict) -> None:
        nonlocal depth
        if not depth:
            bound = inspect.signature(part.forward).bind(*args, **kwargs)
            calls.setdefault(name, bound.args)
        depth += 1

    def leave(*_: Any) -> None:
        nonlocal depth
        depth -= 1

    handles = []
    for name, part in module.named_modules():
        if part is not module:
            handles += [
                part.register_forward_pre_hook(partial(enter, name), with_kwargs=True),
                part.register_forward_hook(leave),
            ]
    try:
        with torch.no_grad():
            module(*args)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _free_sides(value: Any, free: tuple[int, ...]) -> dict[int, Any] | None:
    """Free sides of an input, by the size of its first."""
    if isinstance(value, torch.Tensor) and value.ndim and len(value) in free:
        return {0: Dim.DYNAMIC}
    return None
