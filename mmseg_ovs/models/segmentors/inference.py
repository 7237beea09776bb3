"""Whole-image and sliding-window inference with bounded memory.

Every window leaves only its scores on the patch grid; they are resized, refined, merged
and compared a chunk of rows at a time, so that the scores of all classes at image size
never exist together unless the caller keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from mmseg.models.utils import resize
from torch import Tensor

from mmseg_ovs.structures.vocabulary import Vocabulary

from ..utils import (
    RunningArgmax,
    Window,
    merge_windows,
    resize_argmax,
    resize_pictures,
    rows_per_chunk,
    split_windows,
    window_grid,
)

if TYPE_CHECKING:
    from .open_vocab_segmentor import OpenVocabSegmentor

MODES = ('whole', 'slide')


@dataclass
class InferenceCfg:
    """``test_cfg`` of :class:`OpenVocabSegmentor`.

    Attributes:
        mode: 'whole' or 'slide'.
        crop_size: Height and width of a window ('slide').
        stride: Vertical and horizontal step of the windows ('slide').
        input_size: Windows are resized to it (bilinear) before the backbone, whatever
            their aspect. None: windows go in as they are.
        input_antialias: Whether that resize is antialiased. torchvision did not for
            tensors below version 0.17, which Talk2DINO pins.
        window_batch_size: Windows run through the backbone together.
        window_softmax: Whether scores become a softmax over all text rows, at the size
            of each window, before windows are merged ('slide'; with 'whole' there is
            nothing to merge, and scores stay as they are).
        chunk_mb: Size in MiB of the score maps that are resized, refined and merged
            together. Bounds the memory, does not change the result.
        keep_logits: Keep the scores of all classes at the size of the original image in
            ``seg_logits`` (large: classes x height x width x 4 bytes).
    """

    mode: str = 'whole'
    crop_size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    input_size: tuple[int, int] | None = None
    input_antialias: bool = True
    window_batch_size: int = 8
    window_softmax: bool = False
    chunk_mb: float = 30
    keep_logits: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f'test_cfg.mode has to be one of {MODES}: {self.mode!r}')
        if self.mode == 'slide' and not (self.crop_size and self.stride):
            raise ValueError("test_cfg.mode 'slide' needs crop_size and stride")

    def windows(self, size: tuple[int, int]) -> list[Window]:
        """The windows of an image of a size."""
        if self.mode == 'whole':
            return window_grid(size, size, size)
        return window_grid(size, tuple(self.crop_size), tuple(self.stride))


@dataclass
class WindowedInference:
    """Runs a segmentor over windows and turns scores into labels.

    Args:
        model: The segmentor.
        cfg: How.
    """

    model: OpenVocabSegmentor
    cfg: InferenceCfg

    def __call__(
        self, images: Sequence[Tensor], metas: Sequence[Mapping], vocabulary: Vocabulary
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Segment pictures of any sizes.

        Args:
            images: Normalised pictures (3, H, W).
            metas: ``ori_shape`` and ``flip`` of each, if they have them.
            vocabulary: The classes.

        Returns:
            Labels (H, W) at the original size for each picture and, with
            ``keep_logits``, class scores (N, H, W), else None.
        """
        layouts = [self.cfg.windows(tuple(image.shape[-2:])) for image in images]
        crops = [split_windows(i, w) for i, w in zip(images, layouts, strict=True)]
        scores = iter(self._score_windows([c for crop in crops for c in crop]))
        return [
            self._finish(image, crop, [next(scores) for _ in layout], layout, meta)
            for image, crop, layout, meta in zip(
                images, crops, layouts, metas, strict=True
            )
        ]

    def _score_windows(self, crops: list[Tensor]) -> list[Tensor]:
        """Grid scores (R, h, w) of every window, batched by size."""
        text = self.model.project_vocabulary()
        sizes = [self.cfg.input_size or tuple(crop.shape[-2:]) for crop in crops]
        scores: list[Tensor | None] = [None] * len(crops)
        for size in dict.fromkeys(map(tuple, sizes)):
            members = [i for i, s in enumerate(sizes) if tuple(s) == size]
            for start in range(0, len(members), self.cfg.window_batch_size):
                batch = members[start : start + self.cfg.window_batch_size]
                inputs = torch.stack([self._to_size(crops[i], size) for i in batch])
                for i, grid in zip(
                    batch, self.model.encode_decode(inputs, text), strict=True
                ):
                    scores[i] = grid
        return scores

    def _finish(
        self,
        image: Tensor,
        crops: list[Tensor],
        scores: list[Tensor],
        windows: list[Window],
        meta: Mapping,
    ) -> tuple[Tensor, Tensor | None]:
        """Grid scores of one image's windows to labels (and class scores)."""
        model, vocabulary = self.model, self.model.vocabulary
        size = tuple(image.shape[-2:])
        out_size = tuple(meta.get('ori_shape', size)[:2])
        on_window = [
            [(p, p.prepare(model.denormalize(crop))) for crop in crops]
            for p in model.image_postprocessors('window')
        ]
        on_image = [
            (p, p.prepare(model.denormalize(image)))
            for p in model.image_postprocessors('image')
        ]
        softmax = self.cfg.window_softmax and self.cfg.mode == 'slide'
        log_sums = self._log_sums(scores, windows) if softmax else None
        argmax = RunningArgmax(out_size, scores[0].device, scores[0].dtype)
        kept = []
        chunk = rows_per_chunk(size, self.cfg.chunk_mb)
        for start in range(0, len(scores[0]), chunk):
            maps = [
                self._resize(grid[start : start + chunk], window.size)
                for grid, window in zip(scores, windows, strict=True)
            ]
            if log_sums is not None:
                for i, log_sum in enumerate(log_sums):
                    maps[i] = (maps[i] - log_sum).exp_()
            for prepared in on_window:
                maps = [
                    p.refine(m, ready)
                    for m, (p, ready) in zip(maps, prepared, strict=True)
                ]
            merged = merge_windows(maps, windows, size)
            for p, ready in on_image:
                merged = p.refine(merged, ready)
            merged = _unflip(merged, meta)
            if self.cfg.keep_logits:
                merged = self._resize(merged, out_size)
                kept.append(merged)
            resize_argmax(merged, argmax, start, model.align_corners, self.cfg.chunk_mb)
        labels = vocabulary.row_to_class.to(argmax.index.device)[argmax.index]
        if vocabulary.threshold is not None:
            labels.masked_fill_(
                argmax.best <= vocabulary.threshold, vocabulary.background
            )
        kept = vocabulary.reduce(torch.cat(kept)[None])[0] if kept else None
        return labels, kept

    def _log_sums(self, scores: list[Tensor], windows: list[Window]) -> list[Tensor]:
        """Log-sum-exp (H, W) over the rows of every window at its size, in chunks."""
        sums = []
        for grid, window in zip(scores, windows, strict=True):
            total = grid.new_full(window.size, -torch.inf)
            for part in grid.split(rows_per_chunk(window.size, self.cfg.chunk_mb)):
                partial = self._resize(part, window.size).logsumexp(dim=0)
                torch.logaddexp(total, partial, out=total)
            sums.append(total)
        return sums

    def _to_size(self, crop: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize a picture (3, h, w) for the backbone."""
        return resize_pictures(crop[None], size, self.cfg.input_antialias)[0]

    def _resize(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        if tuple(scores.shape[-2:]) == tuple(size):
            return scores
        return resize(
            scores[None],
            size,
            mode='bilinear',
            align_corners=self.model.align_corners,
            warning=False,
        )[0]


def _unflip(scores: Tensor, meta: Mapping) -> Tensor:
    """Undo the flip of a test-time augmentation on maps (n, H, W)."""
    if not meta.get('flip'):
        return scores
    axis = {'horizontal': -1, 'vertical': -2}[meta['flip_direction']]
    return scores.flip(axis)
