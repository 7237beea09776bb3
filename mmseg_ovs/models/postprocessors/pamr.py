"""Pixel-adaptive mask refinement.

Source: Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels" (CVPR
2020), as Talk2DINO uses it (lorebianchi98/Talk2DINO, models/dinotext/pamr.py): scores
flow to neighbours of similar colour for some iterations.

The published form gathers a [classes, 48, H, W] tensor in every iteration. Here one
iteration is a weighted sum of table rows, which ``embedding_bag`` computes without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from .base import ImagePostProcessor

# Rows whose temporaries are made together: a CPU keeps them in its cache, a GPU is to
# have few, large operations (1.5 KiB a pixel at the default dilations).
_BAND_ROWS = 32
_BAND_PIXELS_GPU = 2**19


class Affinity(NamedTuple):
    """Neighbours of every pixel and their weights, both (H * W, neighbours)."""

    indices: Tensor
    weights: Tensor


@MODELS.register_module()
class PAMR(ImagePostProcessor):
    """Pixel-adaptive mask refinement.

    Args:
        num_iter: Iterations.
        dilations: Distances of the 3 x 3 neighbourhoods.
        stage: See :class:`ImagePostProcessor`. Talk2DINO refines each window.
        class_chunk: Score maps refined together; bounds the memory, changes nothing.
    """

    averages = True

    def __init__(
        self,
        num_iter: int = 10,
        dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
        stage: str = 'window',
        class_chunk: int = 32,
    ) -> None:
        super().__init__(stage)
        self.num_iter = num_iter
        self.dilations = tuple(dilations)
        self.class_chunk = class_chunk
        around = [step for step in product((-1, 0, 1), repeat=2) if any(step)]
        offsets = [(d * y, d * x) for d in self.dilations for y, x in around]
        # a buffer, so that it lies where the images are
        self.register_buffer('offsets', torch.tensor(offsets), persistent=False)

    def _neighbours(self, top: int, bottom: int, height: int, width: int) -> Tensor:
        """Flat indices (pixels, 8 * dilations) of the rows top..bottom.

        Clamping them replicates the border.
        """
        device = self.offsets.device
        rows = torch.arange(top, bottom, device=device)[:, None]
        columns = torch.arange(width, device=device)[:, None]
        dy, dx = self.offsets.unbind(dim=1)
        y = (rows + dy).clamp_(0, height - 1).mul_(width)
        x = (columns + dx).clamp_(0, width - 1)
        return (y[:, None] + x).flatten(0, 1)

    @torch.no_grad()
    def prepare(self, image: Tensor) -> Affinity:
        """Affinity of every pixel to its neighbours.

        Minus the colour difference over a tenth of the local standard deviation, mean
        over the colours, softmax over the neighbours. The deviation is unbiased over
        nine places of each dilation, so the centre counts once for each.

        Args:
            image: RGB image (3, H, W), 0..255.
        """
        height, width = image.shape[-2:]
        shape = height * width, 8 * len(self.dilations)
        indices = torch.empty(shape, dtype=torch.int32, device=image.device)
        weights = torch.empty(shape, device=image.device)
        colours = image.float().flatten(1)
        rows = _BAND_ROWS
        if image.device.type != 'cpu':
            rows = max(1, _BAND_PIXELS_GPU // width)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            band = slice(top * width, bottom * width)
            around = self._neighbours(top, bottom, height, width)
            indices[band] = around
            weights[band] = self._affinity(colours, around, band)
        return Affinity(indices, weights)

    def _affinity(self, colours: Tensor, indices: Tensor, pixels: slice) -> Tensor:
        """Weights (pixels, neighbours) of some pixels of ``colours`` (3, H * W)."""
        centres = len(self.dilations)
        count = indices.shape[1] + centres
        logits = torch.zeros(indices.shape, device=indices.device)
        for colour in colours:
            centre = colour[pixels, None]
            around = colour[indices]
            mean = (around.sum(1, keepdim=True) + centres * centre) / count
            squares = (around - mean).square_().sum(1, keepdim=True)
            squares += centres * (centre - mean).square()
            deviation = (squares / (count - 1)).sqrt_()
            logits -= around.sub_(centre).abs_().div_(1e-8 + 0.1 * deviation)
        return logits.div_(len(colours)).softmax(dim=1)

    @torch.no_grad()
    def refine(self, scores: Tensor, prepared: Affinity) -> Tensor:
        """Refine score maps (n, H, W) of the size of the prepared image."""
        refined = torch.empty_like(scores)
        for start in range(0, len(scores), self.class_chunk):
            chunk = scores[start : start + self.class_chunk]
            # A column alone would be summed in another order than among others, and
            # the last bit depend on how many maps are refined together.
            columns = chunk.flatten(1).t().expand(-1, max(2, len(chunk)))
            table = columns.contiguous().float()
            for _ in range(self.num_iter):
                table = F.embedding_bag(
                    prepared.indices,
                    table,
                    mode='sum',
                    per_sample_weights=prepared.weights,
                )
            table = table[:, : len(chunk)]
            refined[start : start + self.class_chunk] = table.t().view_as(chunk)
        return refined
