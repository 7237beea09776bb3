"""AnyUp: features of any backbone at any resolution, guided by the image.

Follows Wimmer et al., "AnyUp: Universal Feature Upsampling" (arXiv 2510.12764),
official repository wimmerth/anyup (code and weights CC BY 4.0: name the authors in what
you make with them). Weights load as published; the code is our own.

Every value of the result is a weighted mean of the features nearby, so it stays in the
space of the features, and the weights come from the image and the features. The
published form holds several copies of the image's encoding, the mask of a dense
attention and its weights; here every step goes in bands of pixels, with equal results.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures

from ..layers import (
    FeatureUnification,
    PixelEncoder,
    WindowedCrossAttention,
    row_bands,
)
from ..utils import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PretrainedModule,
    Renormalise,
    Trainable,
    is_exporting,
    set_trainable,
)
from .base import FeatureNeck


class PixelRoPE(nn.Module):
    """Rotary embedding of an image whose coordinates run from 0 to 1 inclusive.

    Args:
        dims: Channels, a multiple of 4.
        base: Base of the geometric series of frequencies at the start of a training.
    """

    def __init__(self, dims: int, base: float = 100.0) -> None:
        super().__init__()
        series = base ** torch.linspace(0, -1, dims // 4)
        freqs = torch.zeros(2, 2, dims // 2)  # row and column, half of the channels
        freqs[0, 0] = freqs[1, 1] = series.repeat(2)
        self.freqs = nn.Parameter(2 * torch.pi * freqs.flatten(1))

    def tables(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Angles of all rows (height, 1, dims) and of all columns (width, dims)."""
        double = dict(dtype=torch.float64, device=self.freqs.device)
        rows, columns = (
            torch.linspace(0, 1, length, **double).to(self.freqs)
            for length in (height, width)
        )
        return rows[:, None, None] * self.freqs[0], columns[:, None] * self.freqs[1]

    def rotate(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Turn channel i with channel i + dims / 2.

        The sines of a pixel come from those of its row and its column.

        Args:
            x: Rows of an image (..., h, W, dims).
            rows: Angles (h, 1, dims).
            columns: Angles (W, dims).
        """
        row_cos, row_sin = rows.cos(), rows.sin()
        col_cos, col_sin = columns.cos(), columns.sin()
        # few and small temporaries: the arithmetic is cheaper than their memory
        cos = (row_cos * col_cos).addcmul_(row_sin, col_sin, value=-1)
        sin = (row_sin * col_cos).addcmul_(row_cos, col_sin)
        first, second = x.chunk(2, dim=-1)
        (cos_1, cos_2), (sin_1, sin_2) = cos.chunk(2, dim=-1), sin.chunk(2, dim=-1)
        turned_first = (first * cos_1).addcmul_(second, sin_1, value=-1)
        turned_second = (second * cos_2).addcmul_(first, sin_2)
        return torch.cat([turned_first, turned_second], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Rotate maps (B, dims, H, W)."""
        x = x.permute(0, 2, 3, 1)
        return self.rotate(x, *self.tables(*x.shape[1:3])).permute(0, 3, 1, 2)


@MODELS.register_module()
class AnyUp(PretrainedModule, FeatureNeck):
    """Refine or upsample one map of a backbone, looking at the image.

    The other maps and the tokens do not change. Works with maps of any width and
    stride, also from backbones that the weights have never seen. In a stock segmentor
    put it into a :class:`BackboneWithNeck`.
    A map is taken to cover its whole image: give backbones images whose sides their
    patch divides, since ``fit='pad'`` and ``'crop'`` would shift the two a little.

    Published weights: ``init_cfg=dict(type='Pretrained', checkpoint=...)`` with
    ``anyup_paper.pth`` (trained on DINOv2 ViT-S) or ``anyup_multi_backbone.pth``. They
    hold a projection of values and one of the output that the method never uses; these
    are left out when the file is read, everything else has to fit.

    Args:
        output_size: 'image', a factor of the map's sides (1 refines without
            upsampling), or (height, width).
        in_index: Which of the maps.
        qk_dim: Channels of queries and keys, a multiple of 8.
        kernel_size: Side of the first convolution over the image, odd.
        kernel_size_lfu: Side of the filters that meet the features, odd.
        window_ratio: A position sees the features within this share of the sides around
            it; 0 shows it all of them.
        num_heads: Attention heads; divides ``qk_dim``.
        lfu_dim: Number of filters that meet the features, a multiple of 8. None:
            ``qk_dim``.
        mean, std: What the data preprocessor normalises images with (RGB, 0..255).
            The published weights expect ImageNet's, the default; images normalised
            otherwise, for CLIP for example, are converted.
        trainable: What is trained, see :func:`set_trainable`. Gradients reach the
            features in any case.
        chunk_pixels: Pixels that the encoders handle at a time where no gradient is
            needed (16 rows at least); bounds the memory, changes nothing.
        init_cfg: Initialisation.

    Raises:
        ValueError: An argument out of range.
    """

    def __init__(
        self,
        output_size: str | float | Sequence[int] = 'image',
        in_index: int = -1,
        qk_dim: int = 128,
        kernel_size: int = 1,
        kernel_size_lfu: int = 5,
        window_ratio: float = 0.1,
        num_heads: int = 4,
        lfu_dim: int | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        trainable: Trainable = True,
        chunk_pixels: int = 4096,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        lfu_dim = qk_dim if lfu_dim is None else lfu_dim
        _check_arguments(
            qk_dim, lfu_dim, num_heads, kernel_size, kernel_size_lfu, window_ratio
        )
        self.output_size = _check_output_size(output_size)
        self.in_index = in_index
        self.chunk_pixels = chunk_pixels
        self.renormalise = Renormalise(mean, std)

        def conv(channels: int, side: int) -> nn.Conv2d:
            # a reflected border of no width would only copy the image
            border = dict(padding=side // 2, padding_mode='reflect') if side > 1 else {}
            return nn.Conv2d(channels, qk_dim, side, bias=False, **border)

        self.image_encoder = PixelEncoder(conv(3, kernel_size), qk_dim)
        self.rope = PixelRoPE(qk_dim)
        self.key_encoder = PixelEncoder(conv(qk_dim, 1), qk_dim)
        self.query_encoder = PixelEncoder(conv(qk_dim, 1), qk_dim)
        unification = FeatureUnification(lfu_dim, kernel_size_lfu)
        self.key_features_encoder = PixelEncoder(unification, qk_dim, lfu_dim)
        self.aggregation = PixelEncoder(conv(2 * qk_dim, 3), qk_dim)
        self.cross_decode = WindowedCrossAttention(qk_dim, num_heads, window_ratio)
        set_trainable(self, trainable)

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published keys to ours; the two projections without effect are left out."""
        state = dict(state)
        attention = 'cross_decode.cross_attn.attention.'
        for kind in ('weight', 'bias'):
            stacked = state.pop(f'{attention}in_proj_{kind}', None)
            if stacked is not None:
                query, key, _ = stacked.chunk(3)
                state[f'cross_decode.query.{kind}'] = query
                state[f'cross_decode.key.{kind}'] = key
            state.pop(f'{attention}out_proj.{kind}', None)
        return {k.replace('.cross_attn.norm_', '.norm_'): v for k, v in state.items()}

    def forward(self, features: VisualFeatures) -> VisualFeatures:
        """Replace the map ``in_index``.

        Raises:
            ValueError: The features come without their images, or there is no such
                map.
        """
        if not isinstance(features, VisualFeatures) or features.image is None:
            raise ValueError(
                'AnyUp looks at the image, and the features came without it. '
                'OpenVocabSegmentor hands it on; in a stock segmentor make the two one '
                "backbone: dict(type='BackboneWithNeck', backbone=..., "
                "neck=dict(type='AnyUp'))."
            )
        maps = list(features.maps)
        if not -len(maps) <= self.in_index < len(maps):
            raise ValueError(
                f'in_index is {self.in_index}, but the backbone returns {len(maps)} '
                'map(s)'
            )
        source = maps[self.in_index]
        size = self._target_size(features.image, source)
        maps[self.in_index] = self.upsample(features.image, source, size)
        return features._replace(maps=tuple(maps))

    def _target_size(self, image: Tensor, features: Tensor) -> tuple[int, int]:
        if self.output_size == 'image':
            return tuple(image.shape[-2:])
        if isinstance(self.output_size, tuple):
            return self.output_size
        height, width = (round(n * self.output_size) for n in features.shape[-2:])
        return max(1, height), max(1, width)

    def upsample(
        self, image: Tensor, features: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Features at another resolution.

        Args:
            image: Normalised images (B, 3, H, W).
            features: Maps (B, C, h, w) of them.
            size: Height and width wanted.

        Returns:
            (B, C, *size), channels last in memory.

        Raises:
            ValueError: Images and maps do not belong together, or are too small.
        """
        self._check_inputs(image, features)
        image = self.renormalise(image.to(self.rope.freqs))
        normalized = F.normalize(features.to(image), dim=1)
        unified = self.key_features_encoder(normalized)
        values = features.permute(0, 2, 3, 1).contiguous()
        out = None
        if not torch.is_grad_enabled() and not is_exporting():
            out = values.new_empty(len(values), *size, values.shape[-1])
        tiles = self.cross_decode.lay_tiles(size, values.shape[1:3], values.device)
        results = []
        for i in range(len(image)):  # one by one: their encodings are the memory
            queries, keys = self._encode_image(
                image[i : i + 1], features.shape[-2:], size
            )
            keys = keys.permute(2, 0, 1)[None]
            keys = self.aggregation(torch.cat([keys, unified[i : i + 1]], dim=1))
            results.append(
                self.cross_decode(
                    queries,
                    keys[0].permute(1, 2, 0),
                    values[i],
                    tiles,
                    None if out is None else out[i],
                )
            )
        out = torch.stack(results) if out is None else out
        return out.permute(0, 3, 1, 2)

    def _encode_image(
        self, image: Tensor, key_size: Sequence[int], query_size: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Queries and keys (h, w, qk_dim) from one image (1, 3, H, W)."""
        parts = self.image_encoder, self.rope, self.query_encoder, self.key_encoder
        learns = any(p.requires_grad for part in parts for p in part.parameters())
        needs_gradient = torch.is_grad_enabled() and (learns or image.requires_grad)
        if not needs_gradient and not is_exporting():
            with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
                return self._encode_in_bands(image, key_size, query_size)
        encoded = self.rope(self.image_encoder(image))
        queries = F.adaptive_avg_pool2d(self.query_encoder(encoded), query_size)
        keys = F.adaptive_avg_pool2d(self.key_encoder(encoded), key_size)
        return queries[0].permute(1, 2, 0), keys[0].permute(1, 2, 0)

    def _encode_in_bands(
        self, image: Tensor, key_size: Sequence[int], query_size: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """The same in three buffers of the size of the image."""
        height, width = image.shape[-2:]
        bands = row_bands(height, width, self.chunk_pixels)
        encoded = image.new_empty(height, width, self.rope.freqs.shape[1])
        hidden, x = torch.empty_like(encoded), torch.empty_like(encoded)
        self.image_encoder.convolve(image, encoded, bands)
        self.image_encoder.run_(encoded, hidden, bands)
        row_angles, column_angles = self.rope.tables(height, width)
        for rows in bands:
            encoded[rows] = self.rope.rotate(
                encoded[rows], row_angles[rows], column_angles
            )
        self.key_encoder.multiply(encoded, x, bands)
        keys = self.key_encoder.run_pooled(x, hidden, bands, tuple(key_size))
        del x
        self.query_encoder.multiply(encoded, encoded, bands)
        if tuple(query_size) == (height, width):
            self.query_encoder.run_(encoded, hidden, bands)
            return encoded, keys
        return self.query_encoder.run_pooled(
            encoded, hidden, bands, tuple(query_size)
        ), keys

    def _check_inputs(self, image: Tensor, features: Tensor) -> None:
        (height, width), (h, w) = image.shape[-2:], features.shape[-2:]
        if len(image) != len(features):
            raise ValueError(
                f'{len(image)} image(s) but {len(features)} feature map(s)'
            )
        if h > height or w > width:
            raise ValueError(
                f'a feature map of {h} x {w} is finer than the image of {height} x '
                f'{width}: AnyUp averages the image over the cells of the map. Give '
                'it the image at which the backbone made the features'
            )
        if min(h, w) < 2:
            raise ValueError(
                f'AnyUp needs feature maps of at least 2 x 2, got {h} x {w}: its 3x3 '
                'convolution reflects at the border'
            )


def _check_arguments(
    qk_dim: int,
    lfu_dim: int,
    num_heads: int,
    kernel_size: int,
    kernel_size_lfu: int,
    window_ratio: float,
) -> None:
    for name, dims in (('qk_dim', qk_dim), ('lfu_dim', lfu_dim)):
        if dims < 8 or dims % 8:
            raise ValueError(
                f'{name} has to be a multiple of 8 (groups of the norms), got {dims}'
            )
    if qk_dim % num_heads:
        raise ValueError(f'{num_heads} heads do not divide {qk_dim} channels')
    for name, side in (
        ('kernel_size', kernel_size),
        ('kernel_size_lfu', kernel_size_lfu),
    ):
        if side < 1 or side % 2 == 0:
            raise ValueError(f'{name} has to be odd, got {side}')
    if window_ratio < 0:
        raise ValueError(f'window_ratio has to be at least 0, got {window_ratio}')


def _check_output_size(
    size: str | float | Sequence[int],
) -> str | float | tuple[int, int]:
    """Validated, a pair as a tuple."""
    if size == 'image':
        return size
    if isinstance(size, (int, float)) and not isinstance(size, bool) and size > 0:
        return size
    is_pair = isinstance(size, Sequence) and not isinstance(size, str)
    if is_pair and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size):
        return tuple(size)
    raise ValueError(
        "output_size has to be 'image', a positive factor or (height, width) in "
        f'pixels, got {size!r}'
    )
