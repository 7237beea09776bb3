"""The text tower of GroupViT, that of the ``transformers`` library.

Xu et al., "GroupViT" (CVPR 2022, arXiv 2202.11094), NVlabs/GroupViT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..backbones.groupvit import groupvit_projection, groupvit_share, groupvit_tower
from .tower import TextTower, TowerTextEncoder, length_to_highest_id


class GroupViTTextTower(TextTower):
    """Causal transformer over CLIP's tokens, read at the end of the text, projected.

    Args:
        config: See :class:`GroupViTTextEncoder`.
        projection_channels: Width of the projection's hidden layer.
        embed_dims: Width of a text vector.
    """

    def __init__(
        self, config: Mapping[str, Any], projection_channels: int, embed_dims: int
    ) -> None:
        super().__init__()
        self.text_model = groupvit_tower('Text', config)
        config = self.text_model.config
        self.text_projection = groupvit_projection(
            config.hidden_size, projection_channels, embed_dims
        )
        self.description = dict(
            kind='GroupViT',
            num_heads=config.num_attention_heads,
            activation=config.hidden_act,
            norm_eps=config.layer_norm_eps,
        )

    def train(self, mode: bool = True) -> GroupViTTextTower:
        """Switch the mode; the norm of the projection keeps its statistics."""
        super().train(mode)
        self.text_projection.eval()
        return self

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed tokens (n, length), padded or cut: (n, D), no unit vectors."""
        x = self.text_model(tokens).last_hidden_state
        end = self.used_lengths(tokens) - 1
        return self.text_projection(x[torch.arange(len(x), device=x.device), end])

    def used_lengths(self, tokens: Tensor) -> Tensor:
        """Number of tokens up to the end of each text, LongTensor (n,)."""
        return length_to_highest_id(tokens)


@MODELS.register_module()
class GroupViTTextEncoder(TowerTextEncoder):
    """GroupViT's text tower with CLIP's tokenizer, of the published size by default.

    Args:
        config: Options of transformers' ``GroupViTTextConfig`` that differ from the
            published models.
        projection_channels: Width of the projection's hidden layer.
        embed_dims: Width of a text vector.
        templates, template_average: See :class:`TowerTextEncoder`; the authors' by
            default.
        **kwargs: See :class:`TowerTextEncoder`; ``init_cfg=dict(type='Pretrained',
            checkpoint=...)`` takes its part of a file of ``transformers`` or of the
            authors.

    Raises:
        MissingLibraryError: ``transformers`` is not installed.
        OpenVocabError: It has no such option.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        projection_channels: int = 4096,
        embed_dims: int = 256,
        templates: str | list[str] = 'simple',
        template_average: str = 'raw',
        **kwargs,
    ) -> None:
        import open_clip  # takes seconds, and models without a tower do not need it

        tower = GroupViTTextTower(config or {}, projection_channels, embed_dims)
        length = tower.text_model.config.max_position_embeddings
        super().__init__(
            tower,
            open_clip.SimpleTokenizer(context_length=length),
            embed_dims,
            templates=templates,
            template_average=template_average,
            **kwargs,
        )

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The text tower of a file of ``transformers`` or of the authors."""
        if any(key.startswith('tower.') for key in state):
            return state
        share = groupvit_share(state, 'text_model.', 'text_projection.')
        return {f'tower.{key}': value for key, value in share.items()}
