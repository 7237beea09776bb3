"""AnyUp the plain way, as published: what the benchmark and the tests compare with.

Dense: every pixel scores every cell, a mask hides what is outside the window, the
weights of all heads exist at once, and encoders work on whole images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_ovs.models.layers import window_mask


class PlainBlock(nn.Module):
    """Residual block of stock layers."""

    def __init__(self, dims: int) -> None:
        super().__init__()

        def conv() -> nn.Conv2d:
            return nn.Conv2d(dims, dims, 1, padding_mode='reflect', bias=False)

        self.block = nn.Sequential(
            *(nn.GroupNorm(8, dims), nn.SiLU(), conv()),
            *(nn.GroupNorm(8, dims), nn.SiLU(), conv()),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class PlainUnification(nn.Module):
    """All responses of all channels to all filters at once."""

    def __init__(self, count: int, side: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(count, 1, side, side))

    def forward(self, x: Tensor) -> Tensor:
        (batch, channels, height, width), count = x.shape, len(self.basis)
        border = self.basis.shape[-1] // 2
        kernels = self.basis.repeat(channels, 1, 1, 1)
        responses = F.conv2d(F.pad(x, [border] * 4), kernels, groups=channels)
        inside = F.pad(torch.ones_like(x[:1, :1]), [border] * 4)
        responses = responses / F.conv2d(inside, torch.ones_like(self.basis[:1]))
        responses = responses.view(batch, count, channels, height, width)
        return responses.softmax(dim=1).mean(dim=2)


class PlainAttention(nn.Module):
    """Norms and the multi-head attention whose weights are used."""

    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.norm_q, self.norm_k = nn.RMSNorm(dims), nn.RMSNorm(dims)
        self.attention = nn.MultiheadAttention(dims, heads, batch_first=True)

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        queries, normed = self.norm_q(queries), self.norm_k(keys)
        return self.attention(queries, normed, keys, attn_mask=mask)[1]


class PlainAnyUp(nn.Module):
    """The published network under its published names."""

    def __init__(
        self, dims: int = 128, heads: int = 4, side: int = 5, window_ratio: float = 0.1
    ) -> None:
        super().__init__()
        self.window_ratio = window_ratio

        def encoder(first: nn.Module) -> nn.Sequential:
            return nn.Sequential(first, PlainBlock(dims), PlainBlock(dims))

        def conv(channels: int, side: int) -> nn.Conv2d:
            options = dict(padding=side // 2, padding_mode='reflect', bias=False)
            return nn.Conv2d(channels, dims, side, **options)

        self.image_encoder = encoder(conv(3, 1))
        self.key_encoder = encoder(conv(dims, 1))
        self.query_encoder = encoder(conv(dims, 1))
        self.key_features_encoder = encoder(PlainUnification(dims, side))
        self.aggregation = encoder(conv(2 * dims, 3))
        self.rope = nn.Module()
        self.rope.freqs = nn.Parameter(torch.randn(2, dims))
        self.cross_decode = nn.Module()
        self.cross_decode.conv2d = nn.Conv2d(dims, dims, 3, padding=1, bias=False)
        self.cross_decode.cross_attn = PlainAttention(dims, heads)

    def encode(self, image: Tensor) -> Tensor:
        """The image's encoding, every pixel turned by its own sine and cosine."""
        x = self.image_encoder(image).permute(0, 2, 3, 1)
        axes = [torch.linspace(0, 1, n, dtype=x.dtype) for n in x.shape[1:3]]
        places = torch.stack(torch.meshgrid(*axes, indexing='ij'), dim=-1)
        angles = places @ self.rope.freqs
        first, second = x.chunk(2, dim=-1)
        turned = torch.cat([-second, first], dim=-1)
        return (x * angles.cos() + turned * angles.sin()).permute(0, 3, 1, 2)

    def forward(self, image: Tensor, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Upsample features (1, C, h, w) to a size, looking at an image."""
        grid = features.shape[-2:]
        encoded = self.encode(image)
        queries = F.adaptive_avg_pool2d(self.query_encoder(encoded), size)
        keys = F.adaptive_avg_pool2d(self.key_encoder(encoded), grid)
        unified = self.key_features_encoder(F.normalize(features, dim=1))
        keys = self.aggregation(torch.cat([keys, unified], dim=1))
        queries = self.cross_decode.conv2d(queries)
        mask = window_mask(size, grid, self.window_ratio)
        queries, keys, values = (x.flatten(2).mT for x in (queries, keys, features))
        weights = self.cross_decode.cross_attn(queries, keys, mask)
        return (weights @ values).mT.unflatten(2, size)
