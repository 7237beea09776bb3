"""Our text encoders as the ``text_encoder`` of mmseg's SAN."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_ovs.structures import Vocabulary

# Keys of mmseg's CLIPTextEncoder as CLIP names them.
_CLIP_NAMES = (
    (r'^transformer\.(\d+)\.attentions\.0\.attn\.', r'transformer.resblocks.\1.attn.'),
    (
        r'^transformer\.(\d+)\.ffns\.0\.layers\.0\.0\.',
        r'transformer.resblocks.\1.mlp.c_fc.',
    ),
    (
        r'^transformer\.(\d+)\.ffns\.0\.layers\.1\.',
        r'transformer.resblocks.\1.mlp.c_proj.',
    ),
    (r'^transformer\.(\d+)\.norms\.0\.', r'transformer.resblocks.\1.ln_1.'),
    (r'^transformer\.(\d+)\.norms\.1\.', r'transformer.resblocks.\1.ln_2.'),
)


@MODELS.register_module()
class SANTextEncoder(BaseModule):
    """Gives mmseg's ``SideAdapterCLIPHead`` the class weights that it expects.

    The head compares its mask embeddings with scaled unit vectors and takes the last
    row for "no class" (``cat_bg`` and ``logit_scale`` of mmseg's ``CLIPTextEncoder``).

    Args:
        encoder: One of our text encoders, as a config or a module.
        logit_scale: Factor of the similarities; 100 in CLIP's published weights. A
            checkpoint brings its own.
        init_cfg: As in mmengine.

    Raises:
        ValueError: The encoder keeps its templates apart.
    """

    def __init__(
        self,
        encoder: dict | nn.Module,
        logit_scale: float = 100.0,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        self.encoder = MODELS.build(encoder) if isinstance(encoder, dict) else encoder
        if getattr(self.encoder, 'template_average', None) == 'none':
            raise ValueError(
                "SAN takes one vector a name, which template_average='none' does not "
                "give: use 'normalized'"
            )
        self.embed_dims = self.encoder.embed_dims
        # its logarithm, as in CLIP and in mmseg's files
        self.register_buffer('logit_scale', torch.tensor(math.log(logit_scale)))
        self.bg_embed = nn.Parameter(torch.empty(1, self.embed_dims))
        nn.init.normal_(self.bg_embed, std=self.embed_dims**-0.5)

    def set_vocabulary(self, vocabulary: Any) -> None:
        """Set the vocabulary of calls that name none."""
        self.encoder.set_vocabulary(vocabulary)

    def forward(self, vocabulary: Vocabulary | None = None) -> Tensor:
        """(R + 1, D): the rows of a vocabulary and the learned row of "no class".

        Args:
            vocabulary: The vocabulary. None: the default. In mmseg's own SAN a class
                has one name; :class:`OpenVocabSAN` takes synonyms too.
        """
        weights = torch.cat([self.encoder(vocabulary), self.bg_embed])
        return self.logit_scale.exp() * F.normalize(weights, dim=-1)

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of mmseg's ``CLIPTextEncoder`` to ours.

        Its tower goes to our encoder; one without a tower, such as
        :class:`PrecomputedTextEncoder`, takes none.
        """
        if 'token_embedding.weight' not in state:
            return state
        own = {k: v for k, v in state.items() if k in ('bg_embed', 'logit_scale')}
        if not self.encoder.state_dict():
            return own
        clip = {_clip_name(k): v for k, v in state.items() if k not in own}
        tower = self.encoder.convert_state_dict(clip)
        return {**own, **{f'encoder.{k}': v for k, v in tower.items()}}


def _clip_name(key: str) -> str:
    for pattern, name in _CLIP_NAMES:
        key = re.sub(pattern, name, key)
    return key
