"""GroupViT's image tower, which groups patches in stages.

Xu et al., "GroupViT: Semantic Segmentation Emerges from Text Supervision" (CVPR 2022,
arXiv 2202.11094), NVlabs/GroupViT. The network is that of ``transformers``; its
``segmentation_logits`` are not the authors' inference, which is
:class:`GroupViTHead`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures
from mmseg_ovs.utils import OpenVocabError, load_extra

from ..utils import PretrainedModule
from .common import fit_to_patches

_IMAGE = ('vision_model.', 'visual_projection.')
_PARTS = (*_IMAGE, 'text_model.', 'text_projection.', 'logit_scale')
# A loss of training, and a table of older files.
_UNUSED = ('multi_label_logit_scale', 'text_model.embeddings.position_ids')
# The authors' names to those of transformers, one after the other.
_RENAMES = [
    (r'^img_encoder\.pos_embed$', 'vision_model.embeddings.position_embeddings'),
    (r'^img_encoder\.patch_embed\.', 'vision_model.embeddings.'),
    (r'\.embeddings\.proj\.', '.embeddings.patch_embeddings.projection.'),
    (r'\.embeddings\.norm\.', '.embeddings.layernorm.'),
    (r'^img_encoder\.norm\.', 'vision_model.layernorm.'),
    (r'^img_encoder\.layers\.', 'vision_model.encoder.stages.'),
    (r'\.blocks\.', '.layers.'),
    (r'^text_encoder\.transformer\.resblocks\.', 'text_model.encoder.layers.'),
    (r'^text_encoder\.ln_final\.', 'text_model.final_layer_norm.'),
    (r'^text_encoder\.token_embedding\.', 'text_model.embeddings.token_embedding.'),
    (r'^text_encoder\.positional_', 'text_model.embeddings.position_'),
    (r'\.position_embedding$', '.position_embedding.weight'),
    (r'(\.layers\.\d+)\.(?:norm|ln_)([12])\.', r'\1.layer_norm\2.'),
    (r'(\.layers\.\d+)\.attn\.(?:out_)?proj\.', r'\1.self_attn.out_proj.'),
    (r'\.attn\.proj\.', '.attn.out_proj.'),
    (r'\.mlp\.c_fc\.', '.mlp.fc1.'),
    (r'\.mlp\.c_proj\.', '.mlp.fc2.'),
    (r'^img_projector\.', 'visual_projection.'),
    (r'^text_projector\.', 'text_projection.'),
    (r'_projection\.linear_hidden\.', '_projection.'),
    (r'_projection\.linear_out\.', '_projection.3.'),
]
_JOINED = re.compile(r'(.+\.layers\.\d+)\.attn\.(?:qkv\.|in_proj_)(weight|bias)$')


def groupvit_tower(kind: str, options: Mapping[str, Any]) -> nn.Module:
    """A tower of ``transformers`` with random weights; ``.config`` has its sizes.

    Args:
        kind: 'Vision' or 'Text'.
        options: What differs from the published models.

    Raises:
        MissingLibraryError: ``transformers`` is not installed.
        OpenVocabError: It has no such option, or the stages do not fit together.
    """
    transformers = load_extra('transformers', 'groupvit', 'GroupViT')
    config = getattr(transformers, f'GroupViT{kind}Config')
    known = config().to_dict()
    if unknown := sorted(set(options) - set(known)):
        raise OpenVocabError(
            f'GroupViT{kind}Config has no {unknown[0]!r}; it has {", ".join(known)}'
        )
    # its attention knows no other implementation, and would not be causal in one
    config = config(**options, attn_implementation='eager')
    if kind == 'Vision':
        _check_stages(config)
    tower = getattr(transformers, f'GroupViT{kind}Model')(config)
    return getattr(tower, f'{kind.lower()}_model')


def groupvit_projection(width: int, hidden: int, out: int) -> nn.Sequential:
    """The projection of a tower into the space in which image and text meet."""
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, out),
    )


def groupvit_share(state: Mapping[str, Tensor], *parts: str) -> dict[str, Tensor]:
    """What a part takes of a file of the whole model, under the names of transformers.

    Args:
        state: A file of ``transformers`` or of the authors, or a part of one.
        *parts: Beginnings of the keys that are wanted. Those of the other parts are
            left out; what belongs to none stays, so that a strict loader lists it.
    """
    if any(key.startswith(('img_encoder.', 'text_encoder.')) for key in state):
        state = _from_authors(state)
    others = tuple(part for part in _PARTS if part not in parts)
    return {k: v for k, v in state.items() if not k.startswith((*others, *_UNUSED))}


def _from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    converted = {}
    for key, value in state.items():
        for pattern, replacement in _RENAMES:
            key = re.sub(pattern, replacement, key)
        if match := _JOINED.match(key):
            layer, kind = match.groups()
            for part, share in zip('qkv', value.chunk(3), strict=True):
                converted[f'{layer}.self_attn.{part}_proj.{kind}'] = share
        else:
            # their projections are convolutions of width 1
            convolution = '_projection.' in key and value.ndim == 3
            converted[key] = value[..., 0] if convolution else value
    return converted


@MODELS.register_module()
class GroupViTImageEncoder(PretrainedModule):
    """Image tower of GroupViT with its projection; frozen, in evaluation mode.

    Returns one map, the soft assignment of patches to the groups of the last stage
    (the product of those of all stages), as ``registers`` the projected groups, and as
    ``cls_token`` the projected mean of the groups. Neither is a unit vector. Images may
    have any size: their sides become multiples of the patch (bicubic), and positions
    are resized (bicubic).

    Args:
        config: Options of transformers' ``GroupViTVisionConfig`` that differ from the
            published models (S/16 with 64 and then 8 groups).
        projection_channels: Width of the projection's hidden layer.
        out_channels: Width of groups and text.
        init_cfg: Initialisation; ``dict(type='Pretrained', checkpoint=...)`` takes its
            part of a file of ``transformers`` or of the authors.

    Raises:
        MissingLibraryError: ``transformers`` is not installed.
        OpenVocabError: It has no such option, or the stages do not fit together.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        projection_channels: int = 4096,
        out_channels: int = 256,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        options = dict(config or {})
        if 'depths' in options:  # transformers reads it for initial values
            options.setdefault('num_hidden_layers', sum(options['depths']))
        self.vision_model = groupvit_tower('Vision', options)
        config = self.vision_model.config
        self.patch_size = config.patch_size
        self.visual_projection = groupvit_projection(
            config.hidden_size, projection_channels, out_channels
        )
        self.requires_grad_(False).train()

    def train(self, mode: bool = True) -> GroupViTImageEncoder:
        """Stays in evaluation mode: in training groups would be drawn at random."""
        return super().train(False)

    def forward(self, x: Tensor) -> VisualFeatures:
        """Images (B, 3, H, W) to a map (B, G, h, w), groups and their mean."""
        x = fit_to_patches(x, self.patch_size, 'resize')
        # the tower's own forward refuses images of another size
        hidden = self.vision_model.embeddings(x, interpolate_pos_encoding=True)
        out = self.vision_model.encoder(
            hidden, output_attentions=True, return_dict=True
        )
        first, *others = out.attentions  # (B, groups, tokens) of each stage
        for assignment in others:
            first = assignment @ first
        grid = [side // self.patch_size for side in x.shape[-2:]]
        groups = self.vision_model.layernorm(out.last_hidden_state)
        return VisualFeatures(
            (first.unflatten(2, grid),),
            cls_token=self.visual_projection(groups.mean(dim=1)),
            registers=self.visual_projection(groups.flatten(0, 1)).unflatten(
                0, groups.shape[:2]
            ),
        )

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The image tower of a file of ``transformers`` or of the authors."""
        return groupvit_share(state, *_IMAGE)


def _check_stages(config: Any) -> None:
    tokens, groups = config.num_group_tokens, config.num_output_groups
    for stage in range(1, len(config.depths)):
        if tokens[stage] and tokens[stage - 1] != groups[stage - 1]:
            raise OpenVocabError(
                f'stage {stage} of transformers takes num_output_groups[{stage - 1}]='
                f'{groups[stage - 1]} tokens and gets num_group_tokens[{stage - 1}]='
                f'{tokens[stage - 1]}: make them equal'
            )
    if not any(tokens):
        raise OpenVocabError(
            f'num_group_tokens={list(tokens)} leaves no stage that groups patches'
        )
