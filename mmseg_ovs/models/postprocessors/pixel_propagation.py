"""Label propagation over the pixels of an image.

Source: Stojnić et al., "LPOSS: Label Propagation Over Patches and Pixels for
Open-vocabulary Semantic Segmentation" (CVPR 2025, arXiv 2503.19777); authors' code:
vladan-stojnic/LPOSS, segmentation/evaluation/lposs_eval.py. This is what LPOSS+ adds.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from ..utils.conjugate_gradient import conjugate_gradient
from .base import ImagePostProcessor

# Pixels whose neighbours are looked up together: a CPU keeps them in its cache, a GPU
# is to have few, large operations (4 KiB a pixel).
_BAND_PIXELS = 2**12
_BAND_PIXELS_GPU = 2**17
# sRGB to CIE XYZ over the white of D65
_XYZ = (
    (0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883),
)


def rgb_to_lab(colours: Tensor) -> Tensor:
    """CIE Lab (3, N) of sRGB colours (3, N) in 0..1; L is in 0..100.

    OpenCV's float Lab interpolates tables and is off by up to 0.6, much for a graph on
    which colours that differ by 1 are strangers.
    """
    gamma = ((colours + 0.055) / 1.055).clamp(min=0) ** 2.4
    linear = torch.where(colours > 0.04045, gamma, colours / 12.92)
    # no matrix product, which autocast would round; no table, for which a GPU waits
    xyz = torch.stack(
        [(r * linear[0] + g * linear[1]) + b * linear[2] for r, g, b in _XYZ]
    )
    x, y, z = torch.where(
        xyz > 0.008856, xyz.clamp(min=0.008856) ** (1 / 3), 7.787 * xyz + 4 / 29
    )
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _bands(count: int, device: torch.device) -> Iterator[slice]:
    step = _BAND_PIXELS if device.type == 'cpu' else _BAND_PIXELS_GPU
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


@MODELS.register_module()
class PixelPropagation(ImagePostProcessor):
    """Scores spread between near pixels of the same colour.

    The neighbours of a pixel are the square around it. Their weight is
    ``exp(-d / tau)`` of the distance d of their colours in Lab, scaled to about 1. With
    the symmetrically normalised weights W, some iterations of conjugate gradients on
    ``(I - alpha W) x = y`` make refined scores x of scores y: not the exact solution,
    stopping early belongs to the method.

    The weights take 4 bytes for each pixel and neighbour (172 MiB for 448 x 598), score
    maps another 32 bytes for each pixel and map of ``class_chunk``.

    Args:
        window: Side of the square, odd.
        tau: Colour distance at which the weight is 1 / e.
        alpha: Share of the neighbours, below 1.
        iterations: Of conjugate gradients.
        stage: See :class:`ImagePostProcessor`. LPOSS+ refines the merged maps.
        class_chunk: Score maps refined together; bounds the memory, changes nothing.

    Raises:
        ValueError: A value does not fit.
    """

    keeps_scale = False

    def __init__(
        self,
        window: int = 13,
        tau: float = 0.01,
        alpha: float = 0.95,
        iterations: int = 10,
        stage: str = 'image',
        class_chunk: int = 32,
    ) -> None:
        super().__init__(stage)
        if window < 3 or window % 2 == 0:
            raise ValueError(f'window has to be odd and at least 3, not {window}')
        if not tau > 0:
            raise ValueError(f'tau has to be positive, not {tau}')
        if not 0 < alpha < 1:
            raise ValueError(f'alpha has to be between 0 and 1, not {alpha}')
        if min(iterations, class_chunk) < 1:
            raise ValueError('iterations and class_chunk have to be at least 1')
        self.window = window
        self.tau = tau
        self.alpha = alpha
        self.iterations = iterations
        self.class_chunk = class_chunk

    @torch.no_grad()
    def prepare(self, image: Tensor) -> Tensor:
        """Normalised weights (H * W, neighbours) of an RGB image (3, H, W), 0..255."""
        size = tuple(image.shape[-2:])
        lab = rgb_to_lab(image.float().flatten(1) / 255)
        lab = torch.stack([lab[0] / 100, lab[1] / 128, lab[2] / 128])
        count = lab.shape[1]
        weights = lab.new_empty(count, self.window**2 - 1)
        for band in _bands(count, lab.device):
            indices, inside = self._neighbours(band, size, lab.device)
            squares = torch.zeros(indices.shape, device=lab.device)
            for channel in lab:
                squares += (channel[indices] - channel[band, None]).square_()
            weights[band] = squares.sqrt_().div_(-self.tau).exp_().mul_(inside)
        degree = weights.sum(dim=1)
        scale = torch.where(degree == 0, 1, degree).rsqrt()
        for band in _bands(count, lab.device):
            indices, _ = self._neighbours(band, size, lab.device)
            weights[band].mul_(scale[band, None]).mul_(scale[indices])
        return weights

    def _neighbours(
        self, band: slice, size: tuple[int, int], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Flat indices (pixels, neighbours), and whether they lie on the image.

        Those beside the image are clamped to its edge.
        """
        height, width = size
        radius = self.window // 2
        pixels = torch.arange(band.start, band.stop, device=device)
        places = torch.arange(self.window**2 - 1, device=device)
        places += places >= len(places) // 2  # all but the centre
        y = (pixels // width)[:, None] + (places // self.window - radius)
        x = (pixels % width)[:, None] + (places % self.window - radius)
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        indices = y.clamp_(0, height - 1).mul_(width).add_(x.clamp_(0, width - 1))
        return indices, inside

    @torch.no_grad()
    def refine(self, scores: Tensor, prepared: Tensor) -> Tensor:
        """Refine score maps (n, H, W) of the size of the prepared image."""
        size = tuple(scores.shape[-2:])

        def multiply(columns: Tensor) -> Tensor:
            """By ``I - alpha W``; neighbours are looked up anew, a band at a time."""
            spread = torch.empty_like(columns)
            for band in _bands(len(prepared), columns.device):
                spread[band] = F.embedding_bag(
                    self._neighbours(band, size, columns.device)[0],
                    columns,
                    mode='sum',
                    per_sample_weights=prepared[band],
                )
            return columns - spread.mul_(self.alpha)

        refined = torch.empty_like(scores)
        for start in range(0, len(scores), self.class_chunk):
            chunk = scores[start : start + self.class_chunk]
            columns = chunk.flatten(1).t().contiguous().float()
            columns = conjugate_gradient(multiply, columns, self.iterations)
            refined[start : start + self.class_chunk] = columns.t().view_as(chunk)
        return refined
