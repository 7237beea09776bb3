"""Speed of AnyUp in tiles and bands against the plain published formulation.

    python tools/speed/anyup.py [CASE ...] [--threads 1] [--pairs 3]

The plain form is dense: every pixel scores every cell, a mask hides what is outside the
window, the weights of all heads exist at once, and encoders work on whole images.
Both have the same (random) weights. Times are interleaved in this process with the
default allocator; peak memory, the output included, is that of a fresh process each.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
import torch.nn.functional as F
from parts import Variant, compare, peak_mb
from torch import Tensor, nn

from mmseg_ovs.models.layers import window_mask
from mmseg_ovs.models.necks import AnyUp
from mmseg_ovs.models.utils import load_pretrained

WINDOW_RATIO = 0.1


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

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.norm_q, self.norm_k = nn.RMSNorm(dims), nn.RMSNorm(dims)
        self.attention = nn.MultiheadAttention(dims, 4, batch_first=True)

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        queries, normed = self.norm_q(queries), self.norm_k(keys)
        return self.attention(queries, normed, keys, attn_mask=mask)[1]


class PlainAnyUp(nn.Module):
    """The published network under its published names."""

    def __init__(self, dims: int = 128) -> None:
        super().__init__()

        def encoder(first: nn.Module) -> nn.Sequential:
            return nn.Sequential(first, PlainBlock(dims), PlainBlock(dims))

        def conv(channels: int, side: int) -> nn.Conv2d:
            options = dict(padding=side // 2, padding_mode='reflect', bias=False)
            return nn.Conv2d(channels, dims, side, **options)

        self.image_encoder = encoder(conv(3, 1))
        self.key_encoder = encoder(conv(dims, 1))
        self.query_encoder = encoder(conv(dims, 1))
        self.key_features_encoder = encoder(PlainUnification(dims, 5))
        self.aggregation = encoder(conv(2 * dims, 3))
        self.rope = nn.Module()
        self.rope.freqs = nn.Parameter(torch.randn(2, dims))
        self.cross_decode = nn.Module()
        self.cross_decode.conv2d = nn.Conv2d(dims, dims, 3, padding=1, bias=False)
        self.cross_decode.cross_attn = PlainAttention(dims)

    def encode(self, image: Tensor) -> Tensor:
        """The image's encoding, every pixel turned by its own sine and cosine."""
        x = self.image_encoder(image).permute(0, 2, 3, 1)
        axes = [torch.linspace(0, 1, length) for length in x.shape[1:3]]
        places = torch.stack(torch.meshgrid(*axes, indexing='ij'), dim=-1)
        angles = places @ self.rope.freqs
        first, second = x.chunk(2, dim=-1)
        turned = torch.cat([-second, first], dim=-1)
        return (x * angles.cos() + turned * angles.sin()).permute(0, 3, 1, 2)

    def forward(
        self,
        image: Tensor,
        features: Tensor,
        size: tuple[int, int],
        chunk: int | None = None,
    ) -> Tensor:
        """Upsample; ``chunk`` queries at a time if given."""
        grid = features.shape[-2:]
        encoded = self.encode(image)
        queries = F.adaptive_avg_pool2d(self.query_encoder(encoded), size)
        keys = F.adaptive_avg_pool2d(self.key_encoder(encoded), grid)
        unified = self.key_features_encoder(F.normalize(features, dim=1))
        keys = self.aggregation(torch.cat([keys, unified], dim=1))
        queries = self.cross_decode.conv2d(queries)
        mask = window_mask(size, grid, WINDOW_RATIO)
        queries, keys, values = (x.flatten(2).mT for x in (queries, keys, features))
        parts = []
        chunk = chunk or queries.shape[1]
        for part, hidden in zip(
            queries.split(chunk, 1), mask.split(chunk), strict=True
        ):
            parts.append(self.cross_decode.cross_attn(part, keys, hidden) @ values)
        return torch.cat(parts, dim=1).mT.unflatten(2, size)


# side of the image, of the feature map and of the output, channels, chunks of queries
CASES: dict[str, tuple[int, int, int, int, tuple[int | None, ...]]] = {
    'refine': (384, 24, 24, 1024, (None,)),
    '96': (384, 24, 96, 1024, (None,)),
    '384': (384, 24, 384, 1024, (None, 16384)),
    # dense and whole it would need 9 GB
    '448': (448, 32, 448, 768, (16384,)),
}


def variants(case: str) -> dict[str, Callable[[], Variant]]:
    """Builders of the variants of a case: same weights and inputs in any process."""
    side, cells, target, channels, chunks = CASES[case]

    def inputs() -> tuple[PlainAnyUp, Tensor, Tensor, tuple[int, int]]:
        torch.manual_seed(0)
        plain = PlainAnyUp().eval()
        for parameter in plain.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        image = torch.randn(1, 3, side, side)
        return plain, image, torch.randn(1, channels, cells, cells), (target, target)

    def published(chunk: int | None) -> Variant:
        plain, *arguments = inputs()
        return lambda: plain(*arguments, chunk)

    def ours() -> Variant:
        plain, *arguments = inputs()
        neck = AnyUp(window_ratio=WINDOW_RATIO).eval()
        load_pretrained(neck, plain.state_dict())
        return lambda: neck.upsample(*arguments)

    builders = {}
    for chunk in chunks:
        name = f'as published, {f"{chunk} queries a time" if chunk else "whole"}'
        builders[name] = lambda chunk=chunk: published(chunk)
    return {**builders, 'mmseg_ovs': ours}


@torch.inference_mode()
def memory_of(case: str, name: str, threads: int) -> float:
    """Peak memory of one call, for a process that has done nothing else."""
    torch.set_num_threads(threads)
    return peak_mb(variants(case)[name]())


@torch.inference_mode()
def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('cases', nargs='*', choices=[[], *CASES])
    parser.add_argument('--threads', type=int, default=1, help='torch threads')
    parser.add_argument('--pairs', type=int, default=3, help='interleaved repetitions')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f'torch {torch.__version__}, {args.threads} thread(s), float32')
    for case in args.cases or CASES:
        side, cells, target, channels, _ = CASES[case]
        memory = {}
        for name in variants(case):
            with multiprocessing.get_context('spawn').Pool(1) as pool:
                memory[name] = pool.apply(memory_of, (case, name, args.threads))
        output = 4 * channels * target**2 / 2**20
        compare(
            f'AnyUp, {channels} channels, {cells} x {cells} -> {target} x {target}, '
            f'image {side} x {side} (the output is {output:.0f} MB)',
            {name: build() for name, build in variants(case).items()},
            args.pairs,
            memory,
        )


if __name__ == '__main__':
    main()
