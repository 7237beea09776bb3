"""CLIP-DINOiser's pooling: patches share their features with those they belong to.

Follows Wysoczanska et al., "CLIP-DINOiser: Teaching CLIP a few DINO tricks for
open-vocabulary semantic segmentation" (ECCV 2024, arXiv 2312.12359),
wysoczanska/clip_dinoiser, models/clip_dinoiser/clip_dinoiser.py.
"""

from __future__ import annotations

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures

from ..utils import PretrainedModule
from .base import FeatureNeck


@MODELS.register_module()
class CorrelationPooling(PretrainedModule, FeatureNeck):
    """Replace each patch of a map by the mean over the patches that correlate with it.

    A convolution of an early map was trained so that the cosines of its patches say
    which patches DINO takes for the same thing. These cosines are the weights.

    The published file loads through ``init_cfg=dict(type='Pretrained',
    checkpoint='.../last.pt')``; its other layer is that of
    :class:`UncertainBackground`.

    Args:
        in_channels: Channels of the map ``source_index``.
        channels: Channels that the convolution gives.
        threshold: Patches with a lower cosine get no weight.
        source_index: The map from which correlations are made. The published weights
            are for the second norm of the third last block: ``out_indices=(-3, -1),
            final_norm=('norm2', True)`` of the backbone.
        in_index: The map that is pooled, on the same grid.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        in_channels: int = 768,
        channels: int = 256,
        threshold: float = 0.2,
        source_index: int = 0,
        in_index: int = -1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.threshold = threshold
        self.source_index = source_index
        self.in_index = in_index
        self.obj_proj = nn.Conv2d(
            in_channels, channels, 3, padding=1, padding_mode='replicate'
        )

    def forward(self, features: VisualFeatures) -> VisualFeatures:
        """Replace the map ``in_index`` (B, C, h, w); it does not come out unit.

        Raises:
            ValueError: The backbone does not give the two maps.
        """
        source, pooled = self._maps(features.maps)
        keys = F.normalize(self.obj_proj(source).flatten(2), dim=1)
        weights = keys.transpose(1, 2) @ keys  # (B, patches, patches), symmetric
        weights = weights.masked_fill(weights < self.threshold, 0)
        out = pooled.flatten(2) @ weights / (weights.sum(1, keepdim=True) + 1e-6)
        maps = list(features.maps)
        maps[self.in_index] = out.view_as(pooled)
        return features._replace(maps=tuple(maps))

    def _maps(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The source and the map to pool."""
        count = len(maps)
        places = [
            index + count if index < 0 else index
            for index in (self.source_index, self.in_index)
        ]
        if not all(0 <= place < count for place in places) or len({*places}) == 1:
            raise ValueError(
                f'CorrelationPooling pools the map {self.in_index} by the correlations '
                f'of the map {self.source_index}, and the backbone gives {count} '
                'map(s): build it with out_indices=(-3, -1), '
                "final_norm=('norm2', True)"
            )
        source, pooled = (maps[place] for place in places)
        if source.shape[1] != self.in_channels:
            raise ValueError(
                f'CorrelationPooling.in_channels={self.in_channels}, but the map '
                f'{self.source_index} has {source.shape[1]} channels. The published '
                "weights take 768 of CLIP ViT-B/16's second norm: out_indices=(-3, "
                "-1), final_norm=('norm2', True)"
            )
        if source.shape[2:] != pooled.shape[2:]:
            raise ValueError(
                f'CorrelationPooling needs two maps on one grid, but they have '
                f'{tuple(source.shape[2:])} and {tuple(pooled.shape[2:])} positions'
            )
        return source, pooled

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The published file without the layer of the background."""
        return {k: v for k, v in state.items() if not k.startswith('bkg_decoder.')}
