"""Our text encoders as the ``text_encoder`` of mmseg's SAN."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class SANTextEncoder(BaseModule):
    """Gives mmseg's ``SideAdapterCLIPHead`` the class weights that it expects.

    The head compares its mask embeddings with scaled unit vectors and takes the last
    row for "no class" (``cat_bg`` and ``logit_scale`` of mmseg's ``CLIPTextEncoder``).

    Args:
        encoder: One of our text encoders, as a config or a module, with a vocabulary
            of one name a class.
        logit_scale: Factor of the similarities; 100 in CLIP's published weights.
        init_cfg: As in mmengine.
    """

    def __init__(
        self,
        encoder: dict | nn.Module,
        logit_scale: float = 100.0,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        self.encoder = MODELS.build(encoder) if isinstance(encoder, dict) else encoder
        self.embed_dims = self.encoder.embed_dims
        self.logit_scale = logit_scale
        self.bg_embed = nn.Parameter(torch.empty(1, self.embed_dims))
        nn.init.normal_(self.bg_embed, std=self.embed_dims**-0.5)

    def set_vocabulary(self, vocabulary: Any) -> None:
        """Set the vocabulary of the next calls."""
        self.encoder.set_vocabulary(vocabulary)

    def forward(self) -> Tensor:
        """(N + 1, D): a row a class and the learned row of "no class"."""
        weights = torch.cat([self.encoder(), self.bg_embed])
        return self.logit_scale * F.normalize(weights, dim=-1)
