"""Inference of models that classify masks: the scores of classes as a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_ovs.structures import Vocabulary

from .inference import Layout, WindowedInference


@dataclass
class Masks:
    """What a model finds in one view.

    Attributes:
        logits: Logits of the masks (Q, h, w).
        text: Logits (Q, R + 1) of the text rows and of "no class".
        padded: Height and width that the masks cover; the view is at the top left.
        size: Height and width of the view in it.
    """

    logits: Tensor
    text: Tensor
    padded: tuple[int, int]
    size: tuple[int, int]


@dataclass
class MaskScores:
    """Scores (N, H, W) that are computed when they are needed, a few classes at a time.

    Attributes:
        probabilities: Of the classes in the masks (N, Q).
        masks: How much a pixel belongs to a mask, 0..1 (Q, H, W).
    """

    probabilities: Tensor
    masks: Tensor

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.masks.device

    @property
    def dtype(self) -> torch.dtype:
        """Their data type."""
        return self.masks.dtype

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.probabilities)

    def __getitem__(self, classes: slice | Tensor) -> MaskScores:
        """The scores of some classes."""
        return MaskScores(self.probabilities[classes], self.masks)

    def compute(self) -> Tensor:
        """The scores (N, H, W)."""
        return torch.einsum('nq,qhw->nhw', self.probabilities, self.masks)


class MaskInference(WindowedInference):
    """Scores of a class: its probability in every mask times the mask, summed.

    The softmax is over the classes and "no class". The logit of a class with several
    names is the highest of its names, in each mask: its names do not share its
    probability, so that a synonym takes nothing from its class. With one name a class
    this is SAN's own score (``SideAdapterCLIPHead.predict_by_feat`` of MMSegmentation).

    The model has ``find_masks(inputs, text) -> list[Masks]``.
    """

    def score_batch(self, inputs: Tensor, text: Tensor) -> list[Masks]:
        """What the model finds in images (B, 3, H, W)."""
        return self.model.find_masks(inputs, text)

    def to_view(self, grid: MaskScores, size: tuple[int, int]) -> Tensor:
        """Scores (n, H, W) of some classes at the size of their view."""
        return self.resize(grid.compute(), size)

    def bounds_hold(self, grids: list[MaskScores]) -> bool:
        """Scores are not there before they are resized."""
        return False

    def _finish(
        self,
        layout: Layout,
        scores: list[Masks],
        out_size: tuple[int, int],
        meta: Mapping,
        vocabulary: Vocabulary,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """As in the base, where every class has one row of scores."""
        maps = [self._class_scores(masks, vocabulary) for masks in scores]
        first = tuple(names[:1] for names in vocabulary.synonyms)
        by_class = replace(vocabulary, synonyms=first)
        return super()._finish(layout, maps, out_size, meta, by_class)

    def _class_scores(self, found: Masks, vocabulary: Vocabulary) -> MaskScores:
        counts = [len(names) for names in vocabulary.synonyms if names]
        probabilities = class_logits(found.text, counts).softmax(dim=-1)[:, :-1].T
        masks = self.resize(found.logits, found.padded)
        height, width = found.size
        return MaskScores(probabilities, masks[:, :height, :width].sigmoid())


def class_logits(logits: Tensor, counts: Sequence[int]) -> Tensor:
    """Logits of text rows and of "no class" (Q, R + 1) to those of classes (Q, N + 1).

    Args:
        logits: The last column is "no class".
        counts: How many neighbouring rows each class has.
    """
    columns = [part.amax(dim=1) for part in logits.split([*counts, 1], dim=1)]
    return torch.stack(columns, dim=1)


def pad_to_multiple(inputs: Tensor, divisor: int) -> Tensor:
    """Zeros at the right of and below images (B, 3, H, W)."""
    height, width = inputs.shape[-2:]
    return F.pad(inputs, (0, -width % divisor, 0, -height % divisor))
