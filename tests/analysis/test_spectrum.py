"""The spectrum against closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmseg_ovs.analysis import RadialSpectrum, frequency_radius, power_spectrum


def spectrum_of(*maps, **kwargs):
    spectrum = RadialSpectrum(**kwargs)
    for features in maps:
        spectrum.update(features)
    return spectrum


def wave(height, width, rows, columns):
    """Cosine with so many periods down and across, (1, 1, h, w)."""
    y, x = torch.arange(height)[:, None], torch.arange(width)[None]
    return torch.cos(2 * math.pi * (rows * y / height + columns * x / width))[
        None, None
    ]


@pytest.mark.parametrize('size', [(8, 8), (7, 12), (33, 20)])
def test_parseval(size):
    features = torch.randn(2, 3, *size)
    torch.testing.assert_close(
        power_spectrum(features).sum((-2, -1)), features.square().sum((-2, -1))
    )
    spectrum = spectrum_of(features)
    energy = spectrum.mean_energy + spectrum.low_energy + spectrum.high_energy
    assert energy == pytest.approx(features.square().sum().item(), rel=1e-5)
    assert spectrum.power_sum.sum().item() == pytest.approx(
        spectrum.low_energy + spectrum.high_energy
    )


def test_radius():
    radius = frequency_radius(8, 16)
    assert radius.shape == (8, 16)
    assert radius[0, 0] == 0
    assert radius[4, 0] == radius[0, 8] == 1  # from token to token
    assert radius.max() == pytest.approx(2**0.5)
    assert radius[1, 2] == pytest.approx(2**0.5 / 4)  # 1 of 4 and 2 of 8


@pytest.mark.parametrize(
    ('size', 'periods'),
    [((32, 32), (0, 5)), ((32, 32), (6, 3)), ((24, 40), (9, 0)), ((32, 32), (14, 15))],
)
def test_wave_peaks_at_its_radius(size, periods):
    spectrum = spectrum_of(wave(*size, *periods))
    radius = math.hypot(periods[0] / size[0], periods[1] / size[1]) / 0.5
    profile = spectrum.profile.nan_to_num()
    assert spectrum.radius[profile.argmax()] == pytest.approx(radius, abs=1 / 32 + 1e-6)
    assert (profile > 1e-6 * profile.max()).sum() == 1
    assert (spectrum.log_ratio() > 0) == (radius > 0.5)


def test_white_noise_is_flat():
    noise = torch.randn(64, 32, 32, 32)
    spectrum = spectrum_of(noise + 3)  # the mean is another matter
    profile = spectrum.relative_profile
    torch.testing.assert_close(profile, torch.ones_like(profile), atol=0.05, rtol=0)
    radius = frequency_radius(32, 32)
    low = ((radius <= 0.5) & (radius > 0)).sum().item()
    assert spectrum.log_ratio() == pytest.approx(
        math.log((32 * 32 - 1 - low) / low), abs=0.01
    )


def test_mean_is_left_out_or_counted():
    features = wave(16, 16, 0, 2) + wave(16, 16, 0, 7) + 2
    spectrum = spectrum_of(features)
    # A cosine has half the energy of a constant one.
    assert spectrum.mean_energy == pytest.approx(4 * 256, rel=1e-5)
    assert spectrum.low_energy == pytest.approx(128, rel=1e-5)
    assert spectrum.log_ratio() == pytest.approx(0, abs=1e-5)
    assert spectrum.log_ratio(with_mean=True) == pytest.approx(
        math.log(0.5 / 4.5), abs=1e-5
    )


def test_blur_lowers_the_log_ratio():
    features = torch.randn(2, 8, 32, 32)
    kernel = torch.outer(*[torch.tensor([1.0, 2, 1]) / 4] * 2).expand(8, 1, 3, 3)
    ratios = []
    for _ in range(3):
        ratios.append(spectrum_of(features).log_ratio())
        features = F.conv2d(features, kernel, padding=1, groups=8)
    assert ratios[0] > ratios[1] + 1 > ratios[2] + 2


def test_cutoff_moves_energy():
    features = torch.randn(1, 4, 32, 32)
    ratios = [spectrum_of(features, cutoff=c).log_ratio() for c in (0.25, 0.5, 1.0)]
    assert ratios == sorted(ratios, reverse=True)
    # A wave at the cut-off is low.
    assert spectrum_of(wave(32, 32, 0, 8)).high_energy == pytest.approx(0, abs=1e-6)


def test_streaming_is_the_whole():
    features = torch.randn(6, 4, 14, 18)
    whole = spectrum_of(features)
    parts = spectrum_of(*features.split([1, 3, 2]))
    torch.testing.assert_close(parts.profile, whole.profile, equal_nan=True)
    assert parts.log_ratio() == pytest.approx(whole.log_ratio())
    # maps of several sizes share the rings
    mixed = spectrum_of(features, torch.randn(1, 4, 32, 20))
    assert mixed.frequencies.sum() == 24 * (14 * 18 - 1) + 4 * (32 * 20 - 1)


def test_wrong_arguments():
    with pytest.raises(ValueError, match='cutoff'):
        RadialSpectrum(cutoff=1.5)
    with pytest.raises(ValueError, match='rings'):
        RadialSpectrum(rings=0)
    with pytest.raises(ValueError, match=r'\(B, C, h, w\)'):
        RadialSpectrum().update(torch.zeros(3, 4, 4))
