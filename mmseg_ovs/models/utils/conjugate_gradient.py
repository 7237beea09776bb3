"""Conjugate gradients for many right-hand sides, stopped early."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradient(
    multiply: Callable[[Tensor], Tensor],
    target: Tensor,
    iterations: int,
    tolerance: float = 1e-6,
) -> Tensor:
    """Approximate the solution of ``A x = y`` for every column y by itself.

    Starts from zero. A column rests as soon as its residual is small; NaN is none the
    smaller and goes on, so that it is seen.

    Args:
        multiply: Multiplies columns (N, R) by the symmetric, positive definite A.
        target: Columns (N, R).
        iterations: Most iterations.
        tolerance: Residual over the norm of the target at which a column rests.

    Returns:
        (N, R).
    """
    solution = torch.zeros_like(target)
    residual, direction = target.clone(), target.clone()
    squares = residual.square().sum(dim=0)
    enough = tolerance**2 * squares
    for _ in range(iterations):
        rests = squares <= enough
        image = multiply(direction)
        step = squares / (direction * image).sum(dim=0)
        step = step.masked_fill(rests, 0)
        solution.addcmul_(direction, step)
        residual.addcmul_(image, step, value=-1)
        before, squares = squares, residual.square().sum(dim=0)
        direction.mul_((squares / before).masked_fill(rests, 0)).add_(residual)
    return solution
