"""GroupViT's inference: every pixel takes the scores of its group.

Xu et al., "GroupViT" (CVPR 2022, arXiv 2202.11094), NVlabs/GroupViT
segmentation/evaluation/group_vit_seg.py.
"""

from __future__ import annotations

import math
import warnings

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor

from mmseg_ovs.structures import VisualFeatures, Vocabulary
from mmseg_ovs.utils import OpenVocabError, is_positive

from ..backbones.groupvit import groupvit_share
from ..text_encoders import BaseTextEncoder
from ..utils import PretrainedModule
from .base import OpenVocabHead


@MODELS.register_module()
class GroupViTHead(PretrainedModule, OpenVocabHead):
    """Scores of groups, on the pixels of the image that belong to them most.

    The score of a row in a group is its probability among all rows times that among
    the few rows that fit the whole image best. For inference only: which group a pixel
    belongs to is an arg max.

    Args:
        text_channels: Width of groups and text vectors.
        top_classes: How many text rows may be in an image.
        background_threshold: The first text row is the background; its name is not
            compared. Groups whose best score is below the threshold, and below the best
            of all groups, have the score 1 there. None: no row is special.
        init_cfg: Initialisation; ``dict(type='Pretrained', checkpoint=...)`` takes the
            scale out of a file of ``transformers`` or of the authors.

    Raises:
        ValueError: A number does not fit.
    """

    in_float32 = True
    merges_features = False

    def __init__(
        self,
        text_channels: int = 256,
        top_classes: int = 5,
        background_threshold: float | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if top_classes < 1:
            raise ValueError(f'top_classes has to be at least 1, not {top_classes}')
        threshold = background_threshold
        if threshold is not None and not (is_positive(threshold) and threshold <= 1):
            raise ValueError(
                f'background_threshold has to be in 0..1, not {threshold}; None is for '
                'no background'
            )
        self.text_channels = text_channels
        self.top_classes = top_classes
        self.background_threshold = threshold
        # of the cosines, as a logarithm; the authors' initial value
        self.register_buffer('logit_scale', torch.tensor(math.log(1 / 0.07)))

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """See :class:`OpenVocabHead`.

        Raises:
            OpenVocabError: There is a threshold of the background, and the first row is
                not the only one of a background.
        """
        first = self.background_threshold is not None  # of the rows to compare
        classes = vocabulary.row_to_class.tolist()
        background = vocabulary.background_class
        if first and [c == background for c in classes[:2]] != [True, False]:
            raise OpenVocabError(
                'decode_head.background_threshold gives groups to a background that is '
                'the first class and has one name, and other classes have to follow: '
                f'the vocabulary begins with {vocabulary.classes[:3]}. Give such a '
                "vocabulary (['background', ...]), or set the threshold to None"
            )
        if len(classes) == first + 1:
            warnings.warn(
                f'{vocabulary.rows[first]!r} is the only name that GroupViT compares, '
                'so it gets every pixel: name what else is to be seen',
                stacklevel=2,
            )

    def project_text(self, text: Tensor) -> Tensor:
        """Unit text vectors (R, C)."""
        self.check_text_width(text.shape[-1])
        return F.normalize(text.float(), dim=-1)

    def forward(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """Scores (B, R, H, W) of unit text (R, C), at the size of the images.

        Args:
            features: As :class:`GroupViTImageEncoder` gives them, with the images.
            text: Unit text vectors.

        Raises:
            OpenVocabError: The backbone gives no groups, or others.
        """
        widths = {
            None if tokens is None else tokens.shape[-1]
            for tokens in (features.registers, features.cls_token)
        }
        if widths != {self.text_channels}:
            raise OpenVocabError(
                'GroupViTHead scores groups and needs as backbone '
                f'GroupViTImageEncoder(out_channels={self.text_channels})'
            )
        has_background = self.background_threshold is not None
        scores = self._group_scores(features, text[1:] if has_background else text)
        if has_background:
            best = scores.amax(dim=1, keepdim=True)  # (B, 1, G)
            limit = best.amax(dim=2, keepdim=True).clamp(max=self.background_threshold)
            scores = torch.cat([(best < limit).to(scores), scores], dim=1)
        size = features.image.shape[-2:]
        owner = self.resize(features.maps[-1].float(), size).argmax(dim=1)
        index = owner.flatten(1)[:, None].expand(-1, scores.shape[1], -1)
        return scores.gather(2, index).unflatten(2, size)

    def _group_scores(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """(B, R, G)."""
        scale = self.logit_scale.exp().clamp(max=100)
        groups = F.normalize(features.registers.float(), dim=-1)
        logits = scale * text @ groups.transpose(1, 2)
        overall = F.normalize(features.cls_token.float(), dim=-1) @ text.T  # (B, R)
        # there may be fewer rows
        padded = F.pad(overall, (0, self.top_classes), value=-torch.inf)
        least = padded.topk(self.top_classes, dim=1).values[:, -1:]
        among_few = logits.masked_fill((overall < least)[..., None], -torch.inf)
        return among_few.softmax(dim=1) * logits.softmax(dim=1)

    def loss(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: BaseTextEncoder,
        vocabulary: Vocabulary | None,
    ) -> dict[str, Tensor]:
        """There is none.

        Raises:
            OpenVocabError: Always.
        """
        raise OpenVocabError(
            'GroupViT is here for inference only: an arg max gives pixels to groups'
        )

    def split_checkpoint(
        self, state: dict[str, Tensor]
    ) -> dict[str, dict[str, Tensor]] | None:
        """A file of ``transformers`` or of the authors to the two towers and the scale.

        Each part takes its own; what belongs to none goes to the image tower.
        """
        if not any(key.startswith(('vision_model.', 'img_encoder.')) for key in state):
            return None
        unknown = groupvit_share(state)
        shares = dict(
            text_encoder=groupvit_share(state, 'text_model.', 'text_projection.'),
            decode_head=self.convert_state_dict(state),
        )
        for name, share in shares.items():
            shares[name] = {k: v for k, v in share.items() if k not in unknown}
        return dict(backbone=state, **shares)

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The scale of a file of ``transformers`` or of the authors."""
        return groupvit_share(state, 'logit_scale')
