"""Talk2DINO: CLIP's text mapped into DINO's patch space, learned from captions.

Source: Barsellotti, Bianchi et al., "Talking to DINO" (arXiv 2411.19331);
lorebianchi98/Talk2DINO src/model.py (projection, head alignment).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures, Vocabulary

from ..layers import Linear
from ..text_encoders import BaseTextEncoder
from ..utils import PretrainedModule
from ..utils.global_batch import gather_batch
from .text_similarity_head import TextSimilarityHead

# The authors' model on the Hugging Face Hub: its parts, and what inference leaves out.
_PARTS = {
    'model.': ('backbone', ''),
    'clip_model.': ('text_encoder', ''),
    'proj.': ('decode_head', 'text_projection.'),
}
_UNUSED = ('logit_scale', 'masker.', 'pamr.', 'clip_model.visual.')


@MODELS.register_module()
class Talk2DINOProjection(PretrainedModule):
    """psi(t) = W2 tanh(W1 t + b1) + b2 from CLIP's text space to DINO's patch space.

    The authors' files (``vitb_mlp_infonce.pth``, ...) load by ``init_cfg``; older ones
    that call the second layer ``linear_layer2`` too.

    Args:
        in_channels: Width of the text vectors.
        out_channels: Width of the patch features.
        num_hidden: Layers after the first, each after a tanh.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        in_channels: int = 512,
        out_channels: int = 768,
        num_hidden: int = 1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.linear_layer = Linear(in_channels, out_channels)
        self.hidden_layers = nn.ModuleList(
            Linear(out_channels, out_channels) for _ in range(num_hidden)
        )

    def forward(self, text: Tensor) -> Tensor:
        """(..., in_channels) -> (..., out_channels), not normalised."""
        text = self.linear_layer(text)
        for layer in self.hidden_layers:
            text = layer(text.tanh())
        return text

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Accept the old name of the second layer."""
        old, new = 'linear_layer2.', 'hidden_layers.0.'
        return {k.replace(old, new): v for k, v in state.items()}


def head_embeddings(
    features: VisualFeatures, attention_scale: float, in_index: int = -1
) -> Tensor:
    """What each attention head of the class token looks at, (B, heads, C).

    Softmax over the patches for each head, then the *mean* (not the sum) of the
    weighted patch features, as the authors do.
    """
    patches = features.maps[in_index].flatten(2)
    attention = (features.cls_attention.flatten(2) * attention_scale).softmax(dim=-1)
    return attention @ patches.transpose(1, 2) / patches.shape[-1]


def align_heads(visual: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity of texts with images that keep the head their own text likes best.

    Args:
        visual: Head embeddings (B, heads, C), normalised.
        text: Projected text (B, C), normalised; row i belongs to image i.

    Returns:
        Similarity (texts, images) of the whole batch, that of other processes
        included, and the index of the head kept (B,).
    """
    index = torch.einsum('bc,bhc->bh', text, visual).argmax(dim=1)
    kept = visual[torch.arange(len(visual), device=visual.device), index]
    return gather_batch(text) @ gather_batch(kept).t(), index


@MODELS.register_module()
class Talk2DINOHead(TextSimilarityHead):
    """Text-similarity head with Talk2DINO's projection and its caption training.

    Needs a backbone built with ``extra_outputs=('cls_attention',)`` to be trained from
    captions; samples carry them as ``caption``.

    Args:
        in_channels: Channels of the patch features.
        text_channels: Width of the text encoder's vectors.
        text_projection: Config of the projection; by default as published.
        attention_scale: Scale of the class token's q . k (0.125 as published).
        loss_align: Loss of the similarity matrix; by default ``InfoNCELoss``.
        activation: 'sigmoid' as published.
        align_corners: True as published.
        **kwargs: See :class:`TextSimilarityHead`.
    """

    def __init__(
        self,
        in_channels: int = 768,
        text_channels: int = 512,
        text_projection: dict | None = None,
        attention_scale: float = 0.125,
        loss_align: dict | None = None,
        activation: str = 'sigmoid',
        align_corners: bool = True,
        **kwargs,
    ) -> None:
        projection = dict(
            type='Talk2DINOProjection',
            in_channels=text_channels,
            out_channels=in_channels,
        )
        super().__init__(
            in_channels,
            text_channels,
            text_projection={**projection, **(text_projection or {})},
            activation=activation,
            align_corners=align_corners,
            **kwargs,
        )
        self.attention_scale = attention_scale
        self.loss_align = MODELS.build(loss_align or dict(type='InfoNCELoss'))

    def split_checkpoint(
        self, state: dict[str, Tensor]
    ) -> dict[str, dict[str, Tensor]] | None:
        """See the base class: the whole model as the authors keep it on the Hub."""
        if not any(key.startswith('proj.linear_layer.') for key in state):
            return None
        shares: dict[str, dict[str, Tensor]] = {part: {} for part, _ in _PARTS.values()}
        for key, value in state.items():
            if key.startswith(_UNUSED):
                continue
            theirs = next((prefix for prefix in _PARTS if key.startswith(prefix)), '')
            part, ours = _PARTS.get(theirs, ('decode_head', ''))
            shares[part][ours + key.removeprefix(theirs)] = value
        return shares

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The projection's keys, of old and new files."""
        prefix = 'text_projection.'
        share = {k.removeprefix(prefix): v for k, v in state.items()}
        if not share or not all(key.startswith(prefix) for key in state):
            return state
        share = self.text_projection.convert_state_dict(share)
        return {f'{prefix}{k}': v for k, v in share.items()}

    def visual_embeddings(self, features: VisualFeatures) -> Tensor:
        """Head embeddings (B, heads, C) of a batch, which training aligns with text.

        Raises:
            ValueError: The backbone did not hand on its class-token attention.
        """
        if features.cls_attention is None:
            raise ValueError(
                'Training from captions needs the class-token attention: build the '
                "backbone with extra_outputs=('cls_attention',)"
            )
        return head_embeddings(features, self.attention_scale, self.in_index)

    def alignment_loss(self, visual: Tensor, text: Tensor) -> dict[str, Tensor]:
        """InfoNCE of head embeddings (B, heads, C) with raw text vectors (B, D)."""
        visual = F.normalize(visual.float(), dim=-1)
        similarity, _ = align_heads(visual, self.project_text(text))
        own = torch.arange(len(similarity), device=similarity.device)
        accuracy = 100 * (similarity.argmax(dim=1) == own).float().mean()
        return dict(loss_align=self.loss_align(similarity), acc_align=accuracy)

    def loss(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: BaseTextEncoder,
        vocabulary: Vocabulary | None,
    ) -> dict[str, Tensor]:
        """Alignment loss where samples have captions, mask losses where they do not."""
        if 'caption' not in data_samples[0]:
            return super().loss(features, data_samples, text_encoder, vocabulary)
        text = text_encoder.encode([sample.caption for sample in data_samples])
        return self.alignment_loss(self.visual_embeddings(features), text)
