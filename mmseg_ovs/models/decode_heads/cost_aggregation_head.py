"""Cost aggregation head: CAT-Seg's decoder, and the late refinement of dinov3.seg.

Source: Cho et al., "CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic
Segmentation" (CVPR 2024, arXiv 2303.11797), cvlab-kaist/CAT-Seg. The modules are in
:mod:`~mmseg_ovs.models.decode_heads.cost_aggregation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures, Vocabulary
from mmseg_ovs.utils import is_positive

from ..layers import Linear
from ..text_encoders import BaseTextEncoder
from ..utils import PretrainedModule, cosine_similarity_map
from ..utils.global_batch import loss_of_batch
from .base import OpenVocabHead
from .class_targets import (
    LOSS_CLASSES,
    SKIPPED,
    class_targets,
    labelled_classes,
    renumber,
    sample_classes,
    sub_vocabulary,
)
from .cost_aggregation import Aggregator, GuidanceMap

IGNORED = ('zero', 'skip')

# Where the parts of the head lie in CAT-Seg's checkpoints; the rest is its CLIP.
_PUBLISHED = {
    'sem_seg_head.predictor.transformer.': 'aggregator.',
    'upsample1.': 'decoder_guidance.0.up.',
    'upsample2.': 'decoder_guidance.1.up.',
}
_PUBLISHED_CLIP = 'sem_seg_head.predictor.clip_model.'


@MODELS.register_module()
class CostAggregationHead(PretrainedModule, OpenVocabHead):
    """Refines the correlation of features and text class by class and between classes.

    Guidance maps are further entries of the features' maps (other layers of the
    backbone, or a prior such as SAM's), named by dicts with ``index``, ``channels``
    and, if they are coarser or finer than needed, ``stride`` and, if coarser,
    ``upsampled_channels`` (see :class:`GuidanceMap`). The spatial blocks need theirs at
    the stride of the features, the two decoder stages at a half and a quarter of it.

    Checkpoints of CAT-Seg load as published through ``init_cfg=dict(type='Pretrained',
    checkpoint=...)``; their CLIP belongs to other parts of the model.

    Args:
        in_channels: Channels of the feature map; the text is compared in this width.
        text_channels: Width of the text vectors, which get a linear projection. None:
            no projection, they are ``text_parts`` times as wide as the features.
        in_index: Which feature map meets the text.
        stride: Its stride; counts only in relation to that of the guidance.
        prompt_channels: Text embeddings of a class: number of templates that the text
            encoder keeps apart, times ``text_parts``.
        text_parts: In how many parts text vectors are cut, each normalised and compared
            by itself (2: dino.txt's, for class token and for patches).
        appearance_guidance: Guidance of the spatial blocks. None: none.
        decoder_guidance: Guidance of the decoder stages, for both or for none.
        aggregator: Further arguments of :class:`Aggregator` (``pad_len``, ``pooling``,
            ``class_chunk``, ...).
        ignored: What unlabelled pixels are in the loss: 'zero', of no class, as
            published (a batch without any label then still lowers all scores); 'skip',
            left out.
        loss_classes: Classes that the loss compares: 'all' of the vocabulary, or those
            'labelled' somewhere in the batch. Training with 'all' teaches the model
            that names which are never labelled are wrong everywhere.
        sampled_classes: Of 'all', the number that a step sees: those labelled in the
            batch, filled up at random from the whole vocabulary (names that are never
            labelled included). Bounds the memory. None: no limit. Each process draws
            for its own part of the batch.
        cosine_scale: Skip connection, not in the papers: logits get the cosine of
            features and text (the last text embedding of a class) times a learned
            factor that starts here. The aggregator's last layer then starts at 0, so
            training starts from the plain cosine. None: none.
        loss_decode: Loss(es) in MMSegmentation's form on logits and targets 0 and 1 of
            all classes; by default binary ``CrossEntropyLoss``. One with
            ``use_sigmoid=False`` compares the classes with each other instead; it
            needs ``ignored='skip'``.
        ignore_index: Label of unlabelled pixels.
        activation: 'none', 'sigmoid' or 'softmax' (over all text rows), applied before
            scores are resized.
        align_corners: How score maps are resized.
        init_cfg: Initialisation.
    """

    loss_sees_labels = False  # but targets of each class

    def __init__(
        self,
        in_channels: int,
        text_channels: int | None = None,
        in_index: int = -1,
        stride: int = 16,
        prompt_channels: int = 1,
        text_parts: int = 1,
        appearance_guidance: dict | None = None,
        decoder_guidance: Sequence[dict] = (),
        aggregator: dict | None = None,
        ignored: str = 'zero',
        loss_classes: str = 'all',
        sampled_classes: int | None = None,
        cosine_scale: float | None = None,
        loss_decode: dict | list[dict] | None = None,
        ignore_index: int = 255,
        activation: str = 'sigmoid',
        align_corners: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            loss_decode
            or dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True),
            ignore_index,
            activation,
            align_corners,
            init_cfg,
        )
        if ignored not in IGNORED:
            raise ValueError(f'ignored has to be one of {IGNORED}, got {ignored!r}')
        _check_loss_classes(loss_classes, sampled_classes)
        if ignored == 'zero' and any(map(_is_softmax, self.loss_decode)):
            raise ValueError(
                'A softmax over the classes has none for unlabelled pixels: set '
                "ignored='skip', or use_sigmoid=True of the loss"
            )
        self.in_channels = in_channels
        self.in_index = in_index
        self.text_parts = text_parts
        self.ignored = ignored
        self.loss_classes = loss_classes
        self.sampled_classes = sampled_classes
        self.text_projection = nn.Identity()
        width = in_channels * text_parts
        if text_channels is not None:
            self.text_projection = Linear(text_channels, width)
        self.text_channels = text_channels or width
        self.appearance_guidance = None
        if appearance_guidance is not None:
            self.appearance_guidance = GuidanceMap(stride, **appearance_guidance)
        self.decoder_guidance = nn.ModuleList(
            GuidanceMap(stride / 2**stage, **guidance)
            for stage, guidance in enumerate(decoder_guidance, 1)
        )
        appearance = self.appearance_guidance
        self.aggregator = Aggregator(
            text_channels=in_channels,
            prompt_channels=prompt_channels,
            appearance_channels=0 if appearance is None else appearance.out_channels,
            decoder_guidance_channels=[g.out_channels for g in self.decoder_guidance],
            **(aggregator or {}),
        )
        self.log_cosine_scale = None
        if cosine_scale is not None:
            if not is_positive(cosine_scale):
                raise ValueError(
                    f'cosine_scale has to be positive, or None for no skip connection, '
                    f'got {cosine_scale!r}'
                )
            self.log_cosine_scale = nn.Parameter(torch.tensor(math.log(cosine_scale)))
            nn.init.zeros_(self.aggregator.head.weight)
            nn.init.zeros_(self.aggregator.head.bias)

    def project_text(self, text: Tensor) -> Tensor:
        """Text embeddings of every row, apart: (R, D) or (R, P, D) to (R, P', C).

        Raises:
            ValueError: The vectors are of another width than ``text_channels``.
        """
        self.check_text_width(text.shape[-1])
        text = self.text_projection(text.float())
        if text.ndim == 2:
            text = text[:, None]
        if self.text_parts > 1:
            text = text.unflatten(-1, (self.text_parts, -1)).flatten(1, 2)
            text = F.normalize(text, dim=-1)
        return text

    def forward(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """Logits (B, R, 4h, 4w) of projected text (R, P, C)."""
        appearance = self.appearance_guidance
        compared = features.maps[self.in_index]
        logits = self.aggregator(
            compared,
            text,
            None if appearance is None else appearance(features.maps),
            [guidance(features.maps) for guidance in self.decoder_guidance],
        )
        if self.log_cosine_scale is None:
            return logits
        cosine = self.resize(
            cosine_similarity_map(compared, text[:, -1]), logits.shape[-2:]
        )
        return logits + self.log_cosine_scale.exp() * cosine

    def loss(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: BaseTextEncoder,
        vocabulary: Vocabulary | None,
    ) -> dict[str, Tensor]:
        """Losses of every class against the label maps of the samples."""
        text = self.project_text(text_encoder(vocabulary))
        labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples])
        labels = labels.squeeze(1)
        skipped = self.ignored == 'skip'
        self.warn_if_unlabelled(
            labels, 'they train nothing' if skipped else 'they lower all scores'
        )
        kept = self._classes_of_step(labels, vocabulary.num_classes)
        if kept is not None:
            rows = torch.isin(vocabulary.row_to_class, kept).nonzero().flatten()
            text = text[rows.to(text.device)]
            labels = renumber(labels, kept, self.ignore_index)
            vocabulary = sub_vocabulary(vocabulary, kept.tolist())
        logits = vocabulary.reduce(self(features, text))
        return self.loss_by_logits(logits, labels)

    def _classes_of_step(self, labels: Tensor, num_classes: int) -> Tensor | None:
        """Classes (on the CPU) that the loss compares, ascending. None: all."""
        if self.loss_classes == 'labelled':
            kept = labelled_classes(labels, num_classes, self.ignore_index)
            return kept if len(kept) else None
        if self.sampled_classes is None:
            return None
        return sample_classes(
            labels, num_classes, self.sampled_classes, self.ignore_index
        )

    def loss_by_logits(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of class logits (B, N, h, w) against labels (B, H, W).

        Raises:
            ValueError: A label is of none of the N classes.
        """
        self.warn_if_single(logits.shape[1])
        logits = self.resize(logits, labels.shape[-2:])
        targets = class_targets(
            labels, logits.shape[1], self.ignore_index, self.ignored == 'skip'
        )
        # Not (B, N, ...): for one class mmseg would take the targets for labels.
        flat = logits.flatten(1, 2), targets.flatten(1, 2)

        def evaluate(loss: nn.Module) -> Tensor:
            if _is_softmax(loss):
                return loss_of_batch(loss, logits, labels, self.ignore_index)
            return loss_of_batch(loss, *flat, SKIPPED)

        return self.sum_losses(evaluate)

    def split_checkpoint(
        self, state: dict[str, Tensor]
    ) -> dict[str, dict[str, Tensor]] | None:
        """CAT-Seg's file to its CLIP's two towers and the head."""
        if not any(key.startswith(_PUBLISHED_CLIP) for key in state):
            return None
        shares = dict(backbone={}, text_encoder={}, decode_head={})
        for key, value in state.items():
            part = 'decode_head'
            if key.startswith(_PUBLISHED_CLIP):
                key = key.removeprefix(_PUBLISHED_CLIP)
                part = 'backbone' if key.startswith('visual.') else 'text_encoder'
            shares[part][key] = value
        return shares

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """CAT-Seg's whole checkpoint, or its aggregator alone, to our keys."""
        if 'conv1.weight' in state:
            state = {f'aggregator.{k}': v for k, v in state.items()}
        converted = {}
        for key, value in Aggregator.convert_state_dict(state).items():
            if key.startswith(_PUBLISHED_CLIP):
                continue
            for theirs, ours in _PUBLISHED.items():
                if key.startswith(theirs):
                    key = ours + key.removeprefix(theirs)
            converted[key] = value
        return converted


def _is_softmax(loss: nn.Module) -> bool:
    return getattr(loss, 'use_sigmoid', True) is False


def _check_loss_classes(loss_classes: str, sampled_classes: int | None) -> None:
    if loss_classes not in LOSS_CLASSES:
        raise ValueError(
            f'loss_classes has to be one of {LOSS_CLASSES}, got {loss_classes!r}'
        )
    if sampled_classes is None:
        return
    if loss_classes == 'labelled':
        raise ValueError(
            'sampled_classes adds classes that are not labelled, '
            "loss_classes='labelled' leaves them out: give one of them"
        )
    if sampled_classes < 1:
        raise ValueError(
            'sampled_classes has to be at least 1, or None for all classes, got '
            f'{sampled_classes}'
        )
