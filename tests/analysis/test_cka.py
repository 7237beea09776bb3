"""CKA against closed forms and the formula over all examples at once."""

import pytest
import torch

from mmseg_ovs.analysis import StreamingCKA, paired_positions


def cka(first, second, chunk=64):
    """Matrix of layers given as (n, D) each, streamed in chunks."""
    streaming = StreamingCKA()
    for part in zip(*(x.split(chunk) for x in [*first, *second]), strict=True):
        streaming.update(part[: len(first)], part[len(first) :])
    return streaming.matrix()


def gram_cka(x, y):
    """Kornblith et al., equations 3 and 5: n x n Gram matrices, centred by H."""
    n = len(x)
    h = torch.eye(n, dtype=x.dtype) - 1 / n
    k, m = h @ (x @ x.T) @ h, h @ (y @ y.T) @ h
    return (k * m).sum() / (k.square().sum() * m.square().sum()).sqrt()


def features(n=300, dims=12):
    """Correlated channels of different scale and mean, double."""
    mixing = torch.randn(dims, dims, dtype=torch.float64)
    return torch.randn(n, dims, dtype=torch.float64) @ mixing + torch.randn(dims) * 5


def test_rotation_scale_and_shift_do_not_matter():
    x = features()
    rotation, _ = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64))
    assert not torch.allclose(rotation, torch.eye(12, dtype=torch.float64))
    for y in (x, x @ rotation, 0.01 * x, x + 100, 7 * x @ rotation - 3):
        assert cka([x], [y]).item() == pytest.approx(1, abs=1e-9)


def test_another_linear_map_does_matter():
    x = features()
    y = x * torch.logspace(-2, 2, 12, dtype=torch.float64)
    assert cka([x], [y]).item() < 0.95


@pytest.mark.parametrize('chunk', [1, 7, 300, 1000])
def test_equals_the_formula_over_all_examples(chunk):
    x = features()
    first = [x, features(dims=5)]
    second = [x[:, :3] + features(dims=3), features(dims=20), x.square()]
    found = cka(first, second, chunk)
    expected = torch.tensor([[gram_cka(a, b) for b in second] for a in first])
    torch.testing.assert_close(found, expected.double(), rtol=1e-7, atol=1e-9)


def test_independent_features_near_the_bias_of_few_examples():
    # E|Y'X|^2 = n p q and E|X'X|^2 = n p (n + p + 1) for white noise.
    n, p, q = 800, 60, 100
    x, y = torch.randn(n, p), torch.randn(n, q)
    chance = (p * q / ((n + p + 1) * (n + q + 1))) ** 0.5
    assert cka([x], [y]).item() == pytest.approx(chance, rel=0.05)


def test_means_far_above_deviations():
    x = torch.randn(400, 6, dtype=torch.float64)
    y = x @ torch.randn(6, 6, dtype=torch.float64)
    far = cka([x + 1e6], [y - 1e6], chunk=10)
    torch.testing.assert_close(far, cka([x], [y]), rtol=1e-6, atol=0)


def test_what_is_kept_does_not_grow():
    streaming = StreamingCKA()
    sizes = set()
    for _ in range(5):
        streaming.update([torch.randn(50, 4)] * 2, [torch.randn(50, 3)])
        sizes.add(sum(x.numel() for x in streaming._products.values()))
    assert sizes == {2 * 16 + 9 + 2 * 12}
    assert streaming.count == 250


def test_positions_are_brought_to_the_coarsest_grid():
    # A ramp across the image is the same ramp on every grid, but at the ends.
    def ramp(size):
        return ((torch.arange(size) + 0.5) / size).expand(1, 2, size, size).clone()

    (a,), (b, c) = paired_positions([ramp(8)], [ramp(32), ramp(16)])
    assert a.shape == b.shape == c.shape == (64, 2)
    inner = slice(1, -1)
    for x in (b, c):
        torch.testing.assert_close(
            x.view(8, 8, 2)[:, inner], a.view(8, 8, 2)[:, inner], atol=1e-5, rtol=0
        )
    # positions in the same order as in the map
    torch.testing.assert_close(a.view(8, 8, 2)[0, :, 0], ramp(8)[0, 0, 0])


def test_wrong_examples():
    streaming = StreamingCKA()
    with pytest.raises(ValueError, match='two examples'):
        streaming.matrix()
    with pytest.raises(ValueError, match=r'\[4, 5\]'):
        streaming.update([torch.zeros(4, 2)], [torch.zeros(5, 2)])
    streaming.update([torch.randn(4, 2)], [torch.randn(4, 2)])
    with pytest.raises(ValueError, match='layers after'):
        streaming.update([torch.randn(4, 2)] * 2, [torch.randn(4, 2)])
