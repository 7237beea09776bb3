"""PAMR the plain way, as published: what the benchmark and the tests compare with."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def plain_pamr(
    image: Tensor, scores: Tensor, dilations: Sequence[int], num_iter: int = 10
) -> Tensor:
    """Scores refined by dilated one-hot convolutions, 30 classes at a time.

    Args:
        image: RGB image (3, H, W), 0..255.
        scores: (C, H, W).
        dilations: Distances of the neighbourhoods.
        num_iter: Iterations.
    """
    kernels = torch.eye(9).view(9, 1, 3, 3)
    around = kernels[[i for i in range(9) if i != 4]]

    def gather(x: Tensor, weight: Tensor) -> Tensor:
        parts = []
        for d in dilations:
            padded = F.pad(x[:, None], [d] * 4, mode='replicate')
            parts.append(F.conv2d(padded, weight, dilation=d))
        return torch.cat(parts, dim=1)

    refined = []
    for chunk in scores.split(30):
        deviation = gather(image, kernels).std(1, keepdim=True)
        difference = gather(image, kernels[4:5] - around).abs()
        affinity = (-difference / (1e-8 + 0.1 * deviation)).mean(0).softmax(0)
        for _ in range(num_iter):
            chunk = (gather(chunk, around) * affinity).sum(1)
        refined.append(chunk)
    return torch.cat(refined)
