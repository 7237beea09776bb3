"""Label propagation the plain way: what the benchmark and the tests compare with.

As the authors do (vladan-stojnic/LPOSS): sparse matrices, name by name, in float64.
"""

from itertools import product

import torch
from torch import Tensor


def normalised(rows: Tensor, columns: Tensor, values: Tensor, count: int) -> Tensor:
    """Sparse weights (N, N) without diagonal, divided by the roots of the degrees."""
    values = values.double().masked_fill(rows == columns, 0)
    degree = values.new_zeros(count).index_add_(0, rows, values)
    scale = torch.where(degree == 0, 1, degree).rsqrt()
    values = values * scale[rows] * scale[columns]
    indices = torch.stack([rows, columns])
    return torch.sparse_coo_tensor(indices, values, (count, count)).to_sparse_csr()


def patch_weights(
    features: Tensor, places: Tensor, neighbours: int, gamma: float, sigma: float
) -> Tensor:
    """Weights of patches from unit features (N, C) and centres (N, 2)."""
    count = len(features)
    near = torch.exp(-sigma * (places[:, None] - places).norm(dim=-1))
    alike, chosen = (features @ features.t()).topk(neighbours, dim=1)
    values = (alike.clamp(min=0) ** gamma * near.gather(1, chosen)).flatten()
    rows = torch.arange(count).repeat_interleave(neighbours)
    columns = chosen.flatten()
    both = torch.cat([rows, columns]), torch.cat([columns, rows])
    return normalised(*both, torch.cat([values, values]), count)


def pixel_weights(lab: Tensor, window: int, tau: float) -> Tensor:
    """Weights of pixels from scaled Lab colours (3, H, W)."""
    _, height, width = lab.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    rows, columns, values = [], [], []
    radius = window // 2
    for dy, dx in product(range(-radius, radius + 1), repeat=2):
        inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        here, there = (y * width + x)[inside], ((y + dy) * width + x + dx)[inside]
        distance = (lab.flatten(1)[:, here] - lab.flatten(1)[:, there]).norm(dim=0)
        rows.append(here)
        columns.append(there)
        values.append(torch.exp(-distance / tau))
    parts = (torch.cat(part) for part in (rows, columns, values))
    return normalised(*parts, height * width)


def propagate(
    weights: Tensor, scores: Tensor, alpha: float = 0.95, iterations: int = 10
) -> Tensor:
    """Scores (R, N) by conjugate gradients, each row by itself."""
    propagated = []
    for target in scores.double():
        x, residual = torch.zeros_like(target), target
        direction, enough = residual, 1e-6 * target.norm()
        for _ in range(iterations):
            if residual.norm() <= enough:
                break
            image = direction - alpha * (weights @ direction)
            step = residual @ residual / (direction @ image)
            x, before = x + step * direction, residual
            residual = residual - step * image
            direction = residual + residual @ residual / (before @ before) * direction
        propagated.append(x)
    return torch.stack(propagated)
