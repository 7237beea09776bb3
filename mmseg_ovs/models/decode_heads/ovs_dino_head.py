"""OVS-DINO's head: patches projected into the text space, learned from masks of nouns.

Source: OVS-DINO, section 4.3, equation 15. No code was published; what the paper leaves
open is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures, Vocabulary

from ..text_encoders import BaseTextEncoder
from ..utils.global_batch import loss_of_batch, weighted_loss_of_batch
from .class_targets import read_classes
from .text_similarity_head import IMPOSSIBLE, TextSimilarityHead

# Settings of the base's loss, which draws pixels and classes.
_OF_PIXELS = {'num_points', 'balanced_points', 'loss_classes'}


class MaskTargets(NamedTuple):
    """Masks of a batch and what they are masks of.

    Attributes:
        image: Image of each mask (M,), on the CPU.
        label: Class of each mask (M,), on the CPU.
        masks: (M, H, W), 1 inside, 0 outside, the ignore index where nothing is known.
        weights: How much each counts (M,), on the CPU. None: all the same.
    """

    image: Tensor
    label: Tensor
    masks: Tensor
    weights: Tensor | None = None


@MODELS.register_module()
class OVSDINOHead(TextSimilarityHead):
    """Text-similarity head trained from binary masks of nouns, overlapping or not.

    Samples carry ``gt_noun_masks`` (K, H, W) and ``nouns``, which are classes of the
    vocabulary (the pseudo-mask data set), or else a label map ``gt_sem_seg``, whose
    every class in the image is a noun. With ``noun_weights`` (K numbers) the losses are
    weighted means over the masks of the batch; empty masks of negatives weigh 1.

    Args:
        in_channels: Channels of the feature map.
        text_channels: Width of the text encoder's vectors, and of the projection.
        negatives: Nouns of other images of the batch (of its part in this process),
            drawn at random, that join each image as empty masks.
        mask_size: Height and width that masks are brought to (nearest) before the loss,
            which takes memory by the pixel. None: as they come.
        logit_scale: Initial factor of the cosine.
        loss_decode: Losses of mask logits (M, P) against masks (M, P); by default
            binary cross-entropy and Dice with equal weights.
        **kwargs: See :class:`TextSimilarityHead`.
    """

    loss_sees_labels = False  # but masks

    def __init__(
        self,
        in_channels: int = 768,
        text_channels: int = 512,
        negatives: int = 0,
        mask_size: tuple[int, int] | None = None,
        logit_scale: float = 10.0,
        loss_decode: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        if loss_decode is None:
            loss_decode = [
                dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True),
                dict(type='DiceLoss', naive_dice=True, eps=1.0, ignore_index=None),
            ]
        if unread := _OF_PIXELS & kwargs.keys():
            raise ValueError(
                f'{type(self).__name__} compares masks of the nouns in a batch and '
                f'does not read {sorted(unread)}: limit its loss by mask_size and '
                'negatives'
            )
        kwargs = {'channels': text_channels, 'project': ('visual',), **kwargs}
        super().__init__(
            in_channels,
            text_channels,
            logit_scale=logit_scale,
            loss_decode=loss_decode,
            **kwargs,
        )
        self.negatives = negatives
        self.mask_size = mask_size

    def loss(
        self,
        features: VisualFeatures,
        data_samples: SampleList,
        text_encoder: BaseTextEncoder,
        vocabulary: Vocabulary | None,
    ) -> dict[str, Tensor]:
        """Losses of the masks of the images' nouns and of the negatives.

        Raises:
            ValueError: A noun is not in the vocabulary, or only some samples have
                weights.
        """
        text = text_encoder(vocabulary)
        if 'gt_noun_masks' in data_samples[0]:
            targets = masks_of_nouns(
                data_samples, vocabulary.classes, self.ignore_index
            )
        else:
            targets = masks_of_labels(
                data_samples, vocabulary.num_classes, self.ignore_index
            )
        self.warn_if_unlabelled(targets.masks)
        targets = add_negatives(targets, len(data_samples), self.negatives)
        # only the rows of nouns in this batch, however long the vocabulary
        used, label = targets.label.unique(return_inverse=True)
        rows = vocabulary.row_to_class
        in_use = torch.isin(rows, used).nonzero().flatten()
        text = self.project_text(text[in_use.to(text.device)])
        logits = self(features, text)
        row_label = torch.searchsorted(used, rows[in_use])
        image, label = torch.stack([targets.image, label]).to(logits.device)
        logits = _best_synonym(logits, row_label, len(used))[image, label]
        return self.loss_of_masks(logits, targets.masks, targets.weights)

    def loss_of_masks(
        self, logits: Tensor, masks: Tensor, weights: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Losses of mask logits (M, h, w) against masks (M, H, W), weighted (M,)."""
        if self.mask_size is not None:
            masks = resize(masks[:, None].float(), self.mask_size, mode='nearest')
            masks = masks.squeeze(1)
        logits = self.resize(logits[:, None], masks.shape[-2:])
        logits, masks = logits.flatten(1), masks.flatten(1)
        unknown = masks == self.ignore_index
        logits = logits.masked_fill(unknown, IMPOSSIBLE)
        # Dice has no ignore index: what is unknown is outside of both masks.
        known = masks.masked_fill(unknown, 0)

        def evaluate(loss: nn.Module) -> Tensor:
            targets = known if loss.loss_name.endswith('dice') else masks
            if weights is None:
                return loss_of_batch(loss, logits, targets, self.ignore_index)
            return weighted_loss_of_batch(
                loss, logits, targets, self.ignore_index, weights
            )

        return self.sum_losses(evaluate)


def masks_of_nouns(
    samples: SampleList, classes: Sequence[str], ignore_index: int
) -> MaskTargets:
    """Targets of samples with ``nouns`` and ``gt_noun_masks`` (K, H, W)."""
    index = {name: label for label, name in enumerate(classes)}
    image, label, weights = [], [], []
    for i, sample in enumerate(samples):
        unknown = [noun for noun in sample.nouns if noun not in index]
        if unknown:
            raise ValueError(
                f'{sample.get("img_path", f"sample {i}")} has masks of {unknown[:5]}, '
                'which the vocabulary in training lacks: every noun has to be a class '
                "of the data set's metainfo"
            )
        image += [i] * len(sample.nouns)
        label += [index[noun] for noun in sample.nouns]
        weights += sample.get('noun_weights') or []
    if weights and len(weights) != len(label):
        raise ValueError(
            f'{len(weights)} of the {len(label)} masks of a batch have weights: set '
            'weight_by_score for every data set, or for none'
        )
    masks = torch.cat([sample.gt_noun_masks.data for sample in samples])
    if not label:
        return _nothing_known(masks.shape[1:], masks.device, ignore_index)
    weights = torch.tensor(weights) if weights else None
    return MaskTargets(torch.tensor(image), torch.tensor(label), masks, weights)


def masks_of_labels(
    samples: SampleList, num_classes: int, ignore_index: int
) -> MaskTargets:
    """Targets of label maps: one mask of each class in each image.

    Raises:
        ValueError: A label is of none of the classes.
    """
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in samples])
    image, label = read_classes(labels, num_classes, ignore_index).nonzero().t()
    if not len(image):
        return _nothing_known(labels.shape[1:], labels.device, ignore_index)
    there = torch.stack([image, label]).to(labels.device)
    labels = labels[there[0]]
    masks = (labels == there[1, :, None, None]).int()
    return MaskTargets(
        image, label, masks.masked_fill_(labels == ignore_index, ignore_index)
    )


def _nothing_known(
    size: torch.Size, device: torch.device, ignore_index: int
) -> MaskTargets:
    """One mask without a known pixel, whose losses are 0."""
    zero = torch.zeros(1, dtype=torch.long)
    masks = torch.full((1, *size), ignore_index, dtype=torch.int, device=device)
    return MaskTargets(zero, zero, masks)


def add_negatives(targets: MaskTargets, images: int, count: int) -> MaskTargets:
    """Add empty masks of nouns that other images have.

    Args:
        targets: Masks of a batch.
        images: Number of images in the batch.
        count: Nouns drawn for each image; all if there are fewer.
    """
    if not count:
        return targets
    nouns = targets.label.unique()
    image, label = [], []
    for i in range(images):
        own = targets.label[targets.image == i]
        others = nouns[~torch.isin(nouns, own)]
        drawn = others[torch.randperm(len(others))[:count]]
        image.append(torch.full_like(drawn, i))
        label.append(drawn)
    label = torch.cat(label)
    empty = targets.masks.new_zeros(len(label), *targets.masks.shape[1:])
    weights = targets.weights
    if weights is not None:
        weights = torch.cat([weights, weights.new_ones(len(label))])
    return MaskTargets(
        torch.cat([targets.image, *image]),
        torch.cat([targets.label, label]),
        torch.cat([targets.masks, empty]),
        weights,
    )


def _best_synonym(logits: Tensor, row_label: Tensor, count: int) -> Tensor:
    """Row logits (B, R, h, w) to class logits (B, count, h, w)."""
    if len(row_label) == count:
        return logits
    index = row_label.to(logits.device)[None, :, None, None].expand_as(logits)
    best = logits.new_full((len(logits), count, *logits.shape[2:]), -torch.inf)
    return best.scatter_reduce(1, index, logits, 'amax')
