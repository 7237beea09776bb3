"""Text-similarity head: the score of a class is the cosine of patch and text.

The head of Talk2DINO (arXiv 2411.19331) and dino.txt (arXiv 2412.16334) at inference;
trained from masks it is the plain open-vocabulary baseline.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures, Vocabulary
from mmseg_ovs.utils import OpenVocabError

from ..layers import Linear
from ..text_encoders import BaseTextEncoder
from ..utils import cosine_similarity_map
from ..utils.global_batch import loss_of_batch
from .base import OpenVocabHead
from .class_targets import LOSS_CLASSES, check_labels, labelled_classes, renumber

IMPOSSIBLE = -1e4  # a logit whose sigmoid is 0


class TextShapeError(OpenVocabError):
    """Text vectors of a form that the head cannot compare."""


@MODELS.register_module()
class TextSimilarityHead(OpenVocabHead):
    """Cosine of projected features and projected text.

    Args:
        in_channels: Channels of the feature map.
        text_channels: Width of the text encoder's vectors.
        channels: Width in which they meet. None: the text meets the raw features.
        project: Which sides get a linear projection to ``channels``: any of 'visual',
            'text'.
        text_projection: Module config that maps text vectors instead of the linear one.
        in_index: Which feature map.
        logit_scale: Initial factor of the cosine. None: no factor (and no parameter).
        logit_bias: Initial learnable offset, for losses on a sigmoid. None: none.
        activation: 'none', 'sigmoid' or 'softmax' (over all text rows), applied before
            scores are resized.
        num_points: Labelled pixels per image on which the loss is computed, drawn at
            random; None: all.
        balanced_points: Draw the same number of pixels from every class of an image,
            instead of uniformly. Needs ``num_points``.
        loss_classes: Classes the loss compares: 'all' of the vocabulary, or those
            'labelled' somewhere in the batch. Training with 'all' teaches the model
            that names which are never labelled are wrong everywhere.
        loss_decode: Loss(es) on class logits in MMSegmentation's form; by default
            ``CrossEntropyLoss``.
        ignore_index: Label that does not count.
        align_corners: How score maps are resized.
        init_cfg: Initialisation.
    """

    in_float32 = True

    def __init__(
        self,
        in_channels: int,
        text_channels: int,
        channels: int | None = None,
        project: tuple[str, ...] = ('visual', 'text'),
        text_projection: dict | None = None,
        in_index: int = -1,
        logit_scale: float | None = None,
        logit_bias: float | None = None,
        activation: str = 'none',
        num_points: int | None = None,
        balanced_points: bool = False,
        loss_classes: str = 'all',
        loss_decode: dict | list[dict] | None = None,
        ignore_index: int = 255,
        align_corners: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(loss_decode, ignore_index, activation, align_corners, init_cfg)
        if loss_classes not in LOSS_CLASSES:
            raise ValueError(
                f'loss_classes has to be one of {LOSS_CLASSES}, got {loss_classes!r}'
            )
        if balanced_points and num_points is None:
            raise ValueError(
                'balanced_points says how num_points pixels are drawn: give num_points'
            )
        if unknown := set(project) - {'visual', 'text'}:
            raise ValueError(
                f"project takes 'visual' and 'text', not {sorted(unknown)}"
            )
        weighted = [x for x in self.loss_decode if getattr(x, 'class_weight', None)]
        if weighted and loss_classes == 'labelled':
            raise ValueError(
                "class_weight of a loss names a weight for every class, loss_classes='"
                "labelled' leaves classes out: give one of them"
            )
        self.text_channels = text_channels
        self.in_index = in_index
        self.num_points = num_points
        self.balanced_points = balanced_points
        self.loss_classes = loss_classes
        self.visual_projection = self.text_projection = nn.Identity()
        if channels is not None and 'visual' in project:
            self.visual_projection = nn.Conv2d(in_channels, channels, 1)
        if text_projection is not None:
            self.text_projection = MODELS.build(text_projection)
        elif channels is not None and 'text' in project:
            self.text_projection = Linear(text_channels, channels)
        self.log_scale = self.logit_bias = None
        if logit_scale is not None:
            self.log_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))
        if logit_bias is not None:
            self.logit_bias = nn.Parameter(torch.tensor(float(logit_bias)))

    def project_text(self, text: Tensor) -> Tensor:
        """(R, D) -> (R, C), normalised.

        Raises:
            ValueError: The vectors are of another width than ``text_channels``.
            TextShapeError: There are several vectors for a row.
        """
        if text.ndim != 2:
            raise TextShapeError(
                f'{type(self).__name__} takes one text vector for each name, but the '
                f'text encoder gives {text.shape[1]} for each: use the mean of the '
                'templates'
            )
        self.check_text_width(text.shape[-1])
        return F.normalize(self.text_projection(text.float()), dim=-1, eps=1e-6)

    def forward(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """Logits (B, R, h, w) of projected text (R, C)."""
        visual = self.visual_projection(features.maps[self.in_index])
        logits = cosine_similarity_map(visual, text)
        if self.log_scale is not None:
            logits = logits * self.log_scale.exp()
        if self.logit_bias is not None:
            logits = logits + self.logit_bias
        return logits

    def loss(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: BaseTextEncoder,
        vocabulary: Vocabulary | None,
    ) -> dict[str, Tensor]:
        """Losses against the label maps of the samples."""
        text = self.project_text(text_encoder(vocabulary))
        logits = vocabulary.reduce(self(features, text))
        labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples])
        self.warn_if_unlabelled(labels)
        return self.loss_by_logits(logits, labels.squeeze(1))

    def loss_by_logits(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of class logits (B, N, h, w) against labels (B, H, W).

        Raises:
            ValueError: A label is of none of the N classes.
        """
        if self.loss_classes == 'labelled':
            kept = labelled_classes(labels, logits.shape[1], self.ignore_index)
            if len(kept):
                kept = kept.to(labels.device)
                logits = logits[:, kept]
                labels = renumber(labels, kept, self.ignore_index)
        else:
            check_labels(labels, logits.shape[1], self.ignore_index)
        self.warn_if_single(logits.shape[1])
        if logits.shape[1] == 1:  # mmseg's losses take it for a mask of 0 and 1
            impossible = torch.full_like(logits, IMPOSSIBLE)
            logits = torch.cat([logits, impossible], dim=1)
        if self.num_points is None:
            logits = self.resize(logits, labels.shape[-2:])
        else:
            logits, labels = sample_points(
                logits,
                labels,
                self.num_points,
                self.ignore_index,
                self.align_corners,
                self.balanced_points,
            )
        return self.sum_losses(
            lambda loss: loss_of_batch(loss, logits, labels, self.ignore_index)
        )


def sample_points(
    logits: Tensor,
    labels: Tensor,
    count: int,
    ignore_index: int,
    align_corners: bool,
    balanced: bool = False,
) -> tuple[Tensor, Tensor]:
    """Logits and labels at random labelled pixels, as a one-pixel-wide image.

    Args:
        logits: (B, N, h, w).
        labels: (B, H, W).
        count: Pixels an image, drawn with replacement among the labelled ones.
        ignore_index: Label of unlabelled pixels; drawn only where nothing is labelled.
        align_corners: As the logits would be resized to the labels.
        balanced: Draw the classes of an image equally often, not its pixels.

    Returns:
        (B, N, count, 1) and (B, count, 1).
    """
    height, width = labels.shape[-2:]
    flat = labels.flatten(1)
    weight = torch.ones_like(flat, dtype=torch.float32)
    if balanced:
        weight = torch.stack([image.bincount()[image] for image in flat])
        weight = weight.float().reciprocal()
    weight[flat == ignore_index] = 0
    weight[weight.sum(1) == 0] = 1
    index = torch.multinomial(weight, count, replacement=True)
    x, y = index % width, index // width
    if align_corners:
        grid = torch.stack([2 * x / (width - 1), 2 * y / (height - 1)], dim=-1) - 1
    else:
        grid = torch.stack([(2 * x + 1) / width, (2 * y + 1) / height], dim=-1) - 1
    sampled = F.grid_sample(
        logits,
        grid[:, :, None].to(logits),
        mode='bilinear',
        padding_mode='border',
        align_corners=align_corners,
    )
    return sampled, labels.flatten(1).gather(1, index)[..., None]
