"""What every open-vocabulary head offers to the segmentor."""

from __future__ import annotations

import logging
from abc import ABCMeta, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmseg.models.builder import build_loss
from mmseg.models.utils import resize
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures, Vocabulary

from ..text_encoders import BaseTextEncoder

ACTIVATIONS = {
    'none': nn.Identity,
    'sigmoid': nn.Sigmoid,
    'softmax': partial(nn.Softmax, dim=1),  # over the text rows
}


class OpenVocabHead(BaseModule, metaclass=ABCMeta):
    """Scores every text row at every position; no weight depends on their number.

    Args:
        loss_decode: Loss(es) in MMSegmentation's form; by default
            ``CrossEntropyLoss``.
        ignore_index: Label of unlabelled pixels.
        activation: 'none', 'sigmoid' or 'softmax' (over all text rows), applied before
            scores are resized.
        align_corners: How score maps are resized.
        init_cfg: Initialisation.

    Attributes:
        in_float32: The head only compares vectors, which no lower precision may round.
        text_channels: Width of the text vectors that it takes; None: any.
        loss_sees_labels: Losses get label maps with ``ignore_index`` in them, so an
            ``ignore_index`` of their own has to be the same.
        merges_features: Whether the feature maps of several windows can be averaged.

    Raises:
        ValueError: Unknown activation.
    """

    in_float32 = False
    text_channels: int | None = None
    loss_sees_labels = True
    merges_features = True

    def __init__(
        self,
        loss_decode: dict | list[dict] | None = None,
        ignore_index: int = 255,
        activation: str = 'none',
        align_corners: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f'activation has to be one of {sorted(ACTIVATIONS)}, got {activation!r}'
            )
        losses = loss_decode or dict(type='CrossEntropyLoss')
        losses = [losses] if isinstance(losses, Mapping) else losses
        self.loss_decode = nn.ModuleList(build_loss(cfg) for cfg in losses)
        self.ignore_index = ignore_index
        self.activation = ACTIVATIONS[activation]()
        self.align_corners = align_corners
        self.odd_batches: Counter[str] = Counter()
        # Read by mmseg.EncoderDecoder; the segmentor keeps them with the vocabulary.
        self.num_classes = self.out_channels = 0

    def project_text(self, text: Tensor) -> Tensor:
        """Text vectors (R, D) in the space in which they meet the visual features."""
        return text

    def check_text_width(self, width: int) -> None:
        """Refuse text vectors that the head cannot compare.

        Args:
            width: Numbers in a text vector.

        Raises:
            ValueError: It is another width than the head's; the message says how to
                make them fit.
        """
        if self.text_channels not in (None, width):
            raise ValueError(
                f'{type(self).__name__} takes text vectors of {self.text_channels} '
                f'numbers, but the text encoder gives {width}. Use the text encoder '
                'that belongs to the backbone or to the projection file, or set '
                f'decode_head.text_channels={width} to train a projection'
            )

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Refuse, before the work, a vocabulary that the head cannot score.

        Raises:
            OpenVocabError: It would go wrong in silence.
        """
        return

    def warn_if_unlabelled(
        self, labels: Tensor, effect: str = 'they train nothing'
    ) -> None:
        """Count the batches of this process without labels, and say so.

        Args:
            labels: Label maps of a batch, of any shape.
            effect: What such batches do.
        """
        if not (labels != self.ignore_index).any():
            self.warn_of_batch(
                f'without a labelled pixel so far: {effect}. All labels are '
                f'ignore_index={self.ignore_index}. If that is unexpected, check the '
                'label maps (masks of 0 and 255?) and the size of the crop'
            )

    def warn_if_single(self, classes: int) -> None:
        """Say so if a softmax, which any loss without ``use_sigmoid`` is, sees one."""
        softmax = [m for m in self.loss_decode if not getattr(m, 'use_sigmoid', False)]
        if classes == 1 and softmax:
            self.warn_of_batch(
                'with a single class to compare so far: a softmax over one class is '
                'always 1, so they train nothing. Train with a loss on a sigmoid, or '
                "with more classes (loss_classes='all' compares all of them)"
            )

    def warn_of_batch(self, message: str) -> None:
        """Warn at the 1st, 2nd, 4th, 8th ... batch of a kind."""
        self.odd_batches[message] += 1
        count = self.odd_batches[message]
        if count & (count - 1) == 0:
            print_log(f'{count} batch(es) {message}', 'current', logging.WARNING)

    @abstractmethod
    def forward(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """Logits (B, R, h, w) of projected text rows (R, C)."""

    def activate(self, logits: Tensor) -> Tensor:
        """Logits (B, R, h, w) to the scores that are resized, merged and compared."""
        return self.activation(logits)

    @abstractmethod
    def loss(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: BaseTextEncoder,
        vocabulary: Vocabulary | None,
    ) -> dict[str, Tensor]:
        """Losses by name. The head asks the text encoder for the texts it needs.

        Args:
            features: Features of the images.
            data_samples: Their labels.
            text_encoder: Encodes the vocabulary, or captions.
            vocabulary: What the labels mean. None: nothing has set one.

        Raises:
            RuntimeError: The head needs the vocabulary and there is none.
        """

    def resize(self, logits: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """Bilinear resize of logits (B, N, h, w)."""
        return resize(
            logits,
            size,
            mode='bilinear',
            align_corners=self.align_corners,
            warning=False,
        )

    def sum_losses(self, evaluate: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
        """The value of each of ``loss_decode``; those of one name are added."""
        losses: dict[str, Tensor] = {}
        for loss in self.loss_decode:
            losses[loss.loss_name] = losses.get(loss.loss_name, 0) + evaluate(loss)
        return losses

    def split_checkpoint(
        self, state: dict[str, Tensor]
    ) -> dict[str, dict[str, Tensor]] | None:
        """The parts' shares of a published file that holds a whole model.

        Args:
            state: A state dict.

        Returns:
            State dicts by part ('backbone', 'text_encoder', 'decode_head', ...) that
            the part's own ``convert_state_dict`` reads. What belongs to no part goes to
            one of them, where a strict loader lists it. None: not a file of the
            method's authors.
        """
        return None


class FeatureAuxiliaryHead(BaseModule, metaclass=ABCMeta):
    """Auxiliary head of training that sees all features and the images.

    Stock auxiliary heads see feature maps alone.

    Attributes:
        loss_prefix: Put before the names of its losses.
    """

    loss_prefix = 'aux'

    @abstractmethod
    def loss(
        self, features: VisualFeatures, data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Losses by name.

        Args:
            features: Maps and tokens of the model, and as ``image`` the images at the
                size of the training pipeline.
            data_samples: Their labels.
        """
