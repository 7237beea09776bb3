"""CLIP whose last attention comes from another backbone, the proxy.

Source: Lan et al., "ProxyCLIP" (ECCV 2024, arXiv 2408.04883), formulas of Section 3;
authors' code: mc-lan/ProxyCLIP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ovs.utils import OpenVocabError, is_positive

from ..utils import IMAGENET_MEAN, IMAGENET_STD, FrozenTeacher, Renormalise
from .clip import OpenCLIPImageEncoder

_CLIP = ([122.7709383, 116.7460125, 104.09373615], [68.5005327, 66.6321579, 70.3231630])
# The last block gives values only: no attention, no residual, no feed-forward.
_VALUES = dict(attention='identity', residual=None, feed_forward=False)
_FIXED = ('last_block', 'out_indices', 'final_norm', 'extra_outputs')


def proxy_attention(features: Tensor, beta: float, gamma: float) -> Tensor:
    """Attention weights from how alike the features of two places are.

    Args:
        features: Feature map (B, C, h, w).
        beta: Share of the mean similarity of an image that counts as none.
        gamma: Sharpness.

    Returns:
        (B, h * w, h * w); rows sum to 1, and a place always attends to itself.
    """
    unit = F.normalize(features.flatten(2), dim=1)
    logits = unit.transpose(1, 2) @ unit
    # per image, so that a batch does not change its images
    logits = (logits - beta * logits.mean(dim=(1, 2), keepdim=True)) * gamma
    # Where all places are alike, all are below 0: there the authors' softmax is NaN.
    others = ~torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    return logits.masked_fill((logits < 0) & others, -torch.inf).softmax(dim=-1)


@MODELS.register_module()
class ProxyCLIPImageEncoder(OpenCLIPImageEncoder):
    """CLIP's image tower with the attention of a frozen second backbone.

    The second backbone, the proxy, sees the same image, renormalised. It is no part of
    the model: no checkpoint holds it, nothing trains it (:class:`FrozenTeacher`).

    Args:
        model: See :class:`OpenCLIPImageEncoder`.
        proxy: Config of any backbone that returns feature maps; its ``init_cfg`` names
            its weights.
        proxy_index: Which of its maps.
        proxy_input_size: Images are stretched to it for the proxy (SAM: 1024 x 1024).
            None: as they are.
        proxy_mean, proxy_std: Normalisation of the proxy's images, RGB, 0..255;
            ImageNet's by default.
        mean, std: Normalisation of the images that come in, that of the model's data
            preprocessor; CLIP's by default.
        beta, gamma: See :func:`proxy_attention`.
        **kwargs: See :class:`OpenCLIPImageEncoder`. What belongs to other last blocks
            cannot be set.

    Raises:
        TypeError: An argument of other last blocks is given.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any],
        proxy: Mapping[str, Any],
        proxy_index: int = -1,
        proxy_input_size: tuple[int, int] | None = None,
        proxy_mean: Sequence[float] = IMAGENET_MEAN,
        proxy_std: Sequence[float] = IMAGENET_STD,
        mean: Sequence[float] = _CLIP[0],
        std: Sequence[float] = _CLIP[1],
        beta: float = 1.2,
        gamma: float = 3.0,
        **kwargs,
    ) -> None:
        if given := [name for name in _FIXED if name in kwargs]:
            raise TypeError(
                f'{type(self).__name__} has no {given[0]}: it returns one map, of a '
                'last block whose attention comes from the proxy'
            )
        if not is_positive(gamma):
            raise OpenVocabError(f'gamma has to be positive: {gamma!r}')
        super().__init__(model, last_block=_VALUES, **kwargs)
        self.proxy = FrozenTeacher(proxy, proxy_input_size, proxy_index)
        self.normalisation = tuple(mean), tuple(std)
        self.beta = beta
        self.gamma = gamma
        self.for_proxy = Renormalise(mean, std, proxy_mean, proxy_std)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Images (B, 3, H, W) to one map (B, C, h, w) on the proxy's grid.

        Raises:
            ValueError: The proxy's grid does not lie on the image as CLIP's does.
        """
        features = self.proxy.on_image(self.for_proxy(x))
        size = features.shape[-2:]
        tokens, grid = self.embed(x)
        *blocks, last = self.blocks
        for block in blocks:
            tokens, _ = block(tokens)
        values = last.value(last.norm1(tokens))[:, 1:].transpose(1, 2)
        values = F.interpolate(values.unflatten(2, grid), size, mode='bilinear')
        weights = proxy_attention(features, self.beta, self.gamma).to(values.dtype)
        out = weights @ values.flatten(2).transpose(1, 2)
        out = self.norm_tokens(last.attn.proj(out))
        return (out.transpose(1, 2).unflatten(2, size).contiguous(),)

    def init_weights(self) -> None:
        """As CLIP's; the proxy loads its weights too, before the first image needs it.

        Raises:
            CheckpointError: Weights are not available or do not fit.
        """
        super().init_weights()
        self.proxy.network(self.pos_embed.device)
