"""The part of a model that becomes a graph: images and text in, score maps out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmseg_ovs.models.necks import apply_neck, as_visual_features
from mmseg_ovs.models.postprocessors import GridPostProcessor, ImagePostProcessor
from mmseg_ovs.models.segmentors import FeatureAggregation, InferenceCfg
from mmseg_ovs.models.text_encoders import PrecomputedTextEncoder
from mmseg_ovs.structures import VisualFeatures, Vocabulary

from .errors import ExportError


class ScoreGraph(nn.Module):
    """Image tower, necks and head of a segmentor, without its text tower.

    The maps are those that the segmentor's inference resizes to the window: activated,
    except under ``aggregation='logits'``, which activates after the resize. With
    ``aggregation='features'`` the windows are part of the graph, because what they
    leave are features that no caller could average.

    Args:
        model: An ``OpenVocabSegmentor``.
        size: Height and width of the images. None: as its ``test_cfg`` says.
        text: Text vectors (R, D) or (R, P, D) that the graph keeps. None: they are its
            second input.

    Raises:
        ExportError: ``test_cfg`` does not say a size and none is given, or ``size``
            does not go with it.
    """

    def __init__(
        self,
        model: nn.Module,
        size: Sequence[int] | None = None,
        text: Tensor | None = None,
    ) -> None:
        super().__init__()
        cfg = InferenceCfg(**(model.test_cfg or {}))
        self.size = tuple(size or _window_size(cfg))
        if _aggregates_features(cfg):
            try:
                # all windows at once: a graph holds every batch by itself
                cfg = replace(cfg, image_size=self.size, window_batch_size=sys.maxsize)
            except ValueError as error:
                raise ExportError(f'size {self.size} does not do: {error}') from error
        self.cfg = cfg
        self.window_bytes = {}  # inference asks for it
        self.backbone = model.backbone
        self.neck = model.neck if model.with_neck else None
        self.decode_head = model.decode_head
        if hasattr(model.backbone, 'proxy'):  # a graph holds all networks
            device = next(model.parameters()).device
            self.proxy = model.backbone.proxy.network(device)
        self.register_buffer('text', text, persistent=False)
        self.eval()

    @property
    def activated(self) -> bool:
        """Whether scores come out, and not logits."""
        return not (
            self.cfg.mode == 'local-global' and self.cfg.aggregation == 'logits'
        )

    def run_backbone(self, image: Tensor) -> VisualFeatures:
        """Features of images (B, 3, H, W) before the neck; inference calls it."""
        return as_visual_features(self.backbone(image), image)

    def forward(self, image: Tensor, text: Tensor | None = None) -> Tensor:
        """Normalised images (B, 3, H, W), text (R, D): maps (B, R, h, w)."""
        if _aggregates_features(self.cfg):
            features = FeatureAggregation(self, self.cfg).aggregate(image)
        else:
            features = self.run_backbone(image)
        if self.neck is not None:
            features = apply_neck(self.neck, features)
        text = self.decode_head.project_text(self.text if text is None else text)
        logits = self.decode_head(features, text)
        return self.decode_head.activate(logits) if self.activated else logits


def _window_size(cfg: InferenceCfg) -> tuple[int, int]:
    """Size of the images that the backbone sees in the model's own inference."""
    size = cfg.input_size or cfg.crop_size
    if _aggregates_features(cfg):
        size = cfg.image_size
    if size is None:
        raise ExportError(
            "test_cfg.mode 'whole' runs images of any size, and a graph is for one: "
            'say which (--size HEIGHT WIDTH)'
        )
    return size


def _aggregates_features(cfg: InferenceCfg) -> bool:
    return cfg.mode == 'local-global' and cfg.aggregation == 'features'


def vector_shape(model: nn.Module) -> tuple[int, ...]:
    """Shape of the text vectors of one name: (D,), or (P, D) with P templates."""
    encoder = model.text_encoder
    if isinstance(encoder, PrecomputedTextEncoder):
        return tuple(encoder.embeddings.shape[1:])
    with torch.no_grad():
        return tuple(encoder(Vocabulary.build(['thing'])).shape[1:])


def row_limit(model: nn.Module) -> int | None:
    """Most text rows for which one graph holds, None for any number.

    A cost aggregation that pads its classes sorts some out above that number.
    """
    aggregator = getattr(model.decode_head, 'aggregator', None)
    limit = getattr(aggregator, 'pad_len', None)
    return None if limit is None else limit - 1


def left_out(model: nn.Module) -> list[str]:
    """What the model does after the graph, for the caller to do or to go without."""
    parts = [
        type(part).__name__
        for part in model.postprocessors
        if isinstance(part, GridPostProcessor | ImagePostProcessor)
    ]
    cfg = InferenceCfg(**(model.test_cfg or {}))
    if cfg.propagation is not None:
        parts.append('propagation over the patches of all windows')
    if cfg.logit_scale is not None:
        parts.append(f'softmax of {cfg.logit_scale:g} x score over all names')
    if cfg.min_area:
        parts.append(f'classes up to area {cfg.min_area:g} out')
    if cfg.min_probability:
        parts.append(f'background below probability {cfg.min_probability:g}')
    if cfg.seen_handicap:
        parts.append(f'handicap of {cfg.seen_handicap:g} on trained_names')
    score = model.vocabulary and model.vocabulary.background_score
    if score is not None:
        parts.append(f'background up to a score of {score:g}')
    return parts
