"""Which part of a model cannot be exported."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

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
        part = module.get_submodule(child)
        alone = _OnTensors(part, inputs)
        free_sides = tuple(_free_sides(tensor, free) for tensor in alone.tensors)
        try:
            attempt(alone, (alone.tensors,), (free_sides,))
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


class _OnTensors(nn.Module):
    """A part with nothing but tensors as inputs and outputs.

    Files know no containers such as ``VisualFeatures``, which parts hand to each other.

    Args:
        part: The part.
        inputs: Its inputs; what is no tensor in them becomes a constant.
    """

    def __init__(self, part: nn.Module, inputs: tuple[Any, ...]) -> None:
        super().__init__()
        self.part = part
        self._leaves, self._spec = tree_flatten(inputs)
        self.tensors = tuple(x for x in self._leaves if isinstance(x, Tensor))

    def forward(self, tensors: tuple[Tensor, ...]) -> list[Tensor]:
        remaining = iter(tensors)
        leaves = [next(remaining) if isinstance(x, Tensor) else x for x in self._leaves]
        outputs = self.part(*tree_unflatten(leaves, self._spec))
        return [x for x in tree_leaves(outputs) if isinstance(x, Tensor)]


def _free_sides(tensor: Tensor, free: tuple[int, ...]) -> dict[int, Any]:
    """Free sides of an input, by the size of its first."""
    return {0: Dim.DYNAMIC} if tensor.ndim and tensor.shape[0] in free else {}
