"""Frequencies of feature maps (OVS-DINO, section 3, equations 3-6).

Source: the paper's text. It leaves open how radii are normalised, where low ends and
high begins, and whether the mean counts; our readings are said where they are made.
"""

from __future__ import annotations

import torch
from torch import Tensor


def power_spectrum(features: Tensor) -> Tensor:
    """|2-D DFT|^2 of every channel (eq. 3, 4), orthonormal.

    Args:
        features: (..., h, w).

    Returns:
        (..., h, w), zero frequency first; its sum is that of the squared features.
    """
    return torch.fft.fft2(features, norm='ortho').abs().square()


def frequency_radius(height: int, width: int) -> Tensor:
    """Normalised radius (h, w) of every frequency of :func:`power_spectrum`.

    Our reading: 1 is the highest frequency along an axis, half a cycle a token (a
    pattern that alternates from token to token). The corners reach sqrt(2).
    """
    rows = torch.fft.fftfreq(height, dtype=torch.float64)
    columns = torch.fft.fftfreq(width, dtype=torch.float64)
    return torch.hypot(rows[:, None], columns[None]) / 0.5


class RadialSpectrum:
    """Azimuthal average of the power spectrum (eq. 5), and high over low (eq. 6).

    Maps are added one after the other; what is kept does not grow with their number.
    They may differ in size, and are weighted by their power.

    Our reading: energy is the sum of the power over all frequencies of a band, low up
    to the cut-off and high above it. The mean of a map (zero frequency) has no
    structure and would drown the rest of the low band, so the band leaves it out;
    ``log_ratio(with_mean=True)`` does not.

    Args:
        cutoff: Radius (see :func:`frequency_radius`) up to which frequencies are low.
        rings: Rings from radius 0 to 1; those of the corners have the same width.

    Raises:
        ValueError: ``cutoff`` or ``rings`` are out of range.
    """

    def __init__(self, cutoff: float = 0.5, rings: int = 16) -> None:
        if not 0 < cutoff < 2**0.5:
            raise ValueError(f'cutoff has to be in 0..sqrt(2), got {cutoff}')
        if rings < 1:
            raise ValueError(f'rings has to be at least 1, got {rings}')
        self.cutoff = cutoff
        self.rings = rings
        count = int(rings * 2**0.5) + 1
        self.edges = torch.arange(1, count + 1, dtype=torch.float64) / rings
        self.power_sum = torch.zeros(count, dtype=torch.float64)
        self.frequencies = torch.zeros(count, dtype=torch.float64)
        self.mean_energy = self.low_energy = self.high_energy = 0.0

    def update(self, features: Tensor) -> None:
        """Add maps (B, C, h, w)."""
        if features.ndim != 4:
            raise ValueError(f'maps have to be (B, C, h, w), not {features.shape}')
        power = power_spectrum(features.float()).double().sum((0, 1)).flatten().cpu()
        radius = frequency_radius(*features.shape[-2:]).flatten()
        self.mean_energy += power[0].item()
        power, radius = power[1:], radius[1:]
        high = radius > self.cutoff + 1e-9
        self.high_energy += power[high].sum().item()
        self.low_energy += power[~high].sum().item()
        ring = torch.searchsorted(self.edges, radius - 1e-9)
        self.power_sum.index_add_(0, ring, power)
        channels = float(features.shape[0] * features.shape[1])
        self.frequencies.index_add_(0, ring, torch.full_like(radius, channels))

    @property
    def radius(self) -> Tensor:
        """Middle of every ring."""
        return self.edges - 0.5 / self.rings

    @property
    def profile(self) -> Tensor:
        """Mean power of the frequencies in every ring; nan where there are none."""
        return self.power_sum / self.frequencies

    @property
    def relative_profile(self) -> Tensor:
        """Profile over the mean power of all frequencies but zero: 1 is white noise."""
        return self.profile / (self.power_sum.sum() / self.frequencies.sum())

    def log_ratio(self, with_mean: bool = False) -> float:
        """Natural logarithm of high over low energy; nan without any energy."""
        low = self.low_energy + (self.mean_energy if with_mean else 0.0)
        high, low = torch.tensor([self.high_energy, low], dtype=torch.float64).log()
        return (high - low).item()
