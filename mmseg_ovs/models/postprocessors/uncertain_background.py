"""CLIP-DINOiser's background: what is uncertain and looks like no object.

Follows Wysoczanska et al., "CLIP-DINOiser: Teaching CLIP a few DINO tricks for
open-vocabulary semantic segmentation" (ECCV 2024, arXiv 2312.12359),
wysoczanska/clip_dinoiser, models/clip_dinoiser/clip_dinoiser.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures, Vocabulary
from mmseg_ovs.utils import OpenVocabError

from ..utils import PretrainedModule
from .base import GridPostProcessor


@MODELS.register_module()
class UncertainBackground(PretrainedModule, GridPostProcessor):
    """Give places that are uncertain and of no object to the background.

    There row 0 gets the probability 1; other rows keep theirs, so that a mean over
    windows is the authors'. Needs ``decode_head.activation='softmax'`` and a vocabulary
    that begins with the background.

    The published file loads through ``init_cfg=dict(type='Pretrained',
    checkpoint='.../last.pt')``; its other layer is that of
    :class:`CorrelationPooling`. No loss reaches this layer: it is frozen.

    Args:
        in_channels: Channels of the map ``source_index``.
        min_probability: A place whose best row is less probable is uncertain.
        min_objectness: A place with no more is of no object.
        source_index: The map that objects are told from, see
            :class:`CorrelationPooling`.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        in_channels: int = 768,
        min_probability: float = 0.99,
        min_objectness: float = 0.5,
        source_index: int = 0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.min_probability = min_probability
        self.min_objectness = min_objectness
        self.source_index = source_index
        self.bkg_decoder = nn.Conv2d(in_channels, 1, 1).requires_grad_(False)

    def check(self, vocabulary: Vocabulary, head: nn.Module) -> None:
        """See :class:`GridPostProcessor`.

        Raises:
            OpenVocabError: The first row is not of the background, or scores are no
                probabilities.
        """
        if not isinstance(head.activation, nn.Softmax):
            raise OpenVocabError(
                'UncertainBackground compares probabilities: set '
                "decode_head.activation='softmax', or leave it out"
            )
        background = vocabulary.background_class
        if background is None or vocabulary.row_to_class[0] != background:
            raise OpenVocabError(
                'UncertainBackground gives places to the first text row, which is '
                f'{vocabulary.rows[0]!r} and not of a background. Give a vocabulary '
                "that begins with one (['background', ...]), or leave the "
                'post-processor out (model.postprocessors=[])'
            )

    def forward(self, scores: Tensor, features: VisualFeatures, text: Tensor) -> Tensor:
        """See :class:`GridPostProcessor`.

        Raises:
            ValueError: The map ``source_index`` has other channels or another grid.
        """
        source = features.maps[self.source_index]
        if source.shape[1:] != (self.in_channels, *scores.shape[2:]):
            raise ValueError(
                f'UncertainBackground reads the map {self.source_index} with '
                f'{self.in_channels} channels on the grid of the scores '
                f'{tuple(scores.shape[2:])}, but it is {tuple(source.shape[1:])}: '
                "build CLIP ViT-B/16 with out_indices=(-3, -1), final_norm=('norm2', "
                'True)'
            )
        objectness = self.bkg_decoder(F.normalize(source, dim=1)).sigmoid()
        best = scores.amax(dim=1, keepdim=True)
        empty = (best < self.min_probability) & (objectness <= self.min_objectness)
        return torch.cat([scores[:, :1].masked_fill(empty, 1), scores[:, 1:]], dim=1)

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The published file without the layer of the correlations."""
        return {k: v for k, v in state.items() if not k.startswith('obj_proj.')}
