"""What every open-vocabulary head offers to the segmentor."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import TYPE_CHECKING

from mmengine.model import BaseModule
from mmseg.utils import SampleList
from torch import Tensor

from mmseg_ovs.structures.visual_features import VisualFeatures
from mmseg_ovs.structures.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ..text_encoders import BaseTextEncoder


class OpenVocabHead(BaseModule, metaclass=ABCMeta):
    """Scores every text row at every position; no weight depends on their number.

    Args:
        align_corners: How score maps are resized.
        init_cfg: Initialisation.

    Attributes:
        in_float32: The head only compares vectors, which no lower precision may round.
    """

    in_float32 = False

    def __init__(
        self, align_corners: bool = False, init_cfg: dict | list[dict] | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.align_corners = align_corners
        # Read by mmseg.EncoderDecoder; the segmentor keeps them with the vocabulary.
        self.num_classes = self.out_channels = 0

    def project_text(self, text: Tensor) -> Tensor:
        """Text vectors (R, D) in the space in which they meet the visual features."""
        return text

    @abstractmethod
    def forward(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """Logits (B, R, h, w) of projected text rows (R, C)."""

    def activate(self, logits: Tensor) -> Tensor:
        """Logits to the scores that are resized, merged and compared."""
        return logits

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
