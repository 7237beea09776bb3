"""Temporal consistency: scores of a frame, mixed with those of the frames before.

A strategy is the memory of one video: its frames come to :meth:`Temporal.follow` in
order. Scores stay on the grids of the views, so its size depends on neither the size of
the frames nor the length of the video.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_ovs.structures import VisualFeatures
from mmseg_ovs.utils import OpenVocabError, is_number, is_positive

from .settings import read_settings

_THUMBNAIL = 16  # cells a side in which frames are compared as wholes


class Temporal(ABC):
    """What is remembered of the frames of one video.

    Attributes:
        memory: None before the first frame. It is replaced, never changed: who keeps it
            can go back.
        seconds: Time spent here.
    """

    needs_patches = False
    memory: Any = None
    _size: tuple[int, ...] = ()
    _meaning: Hashable = None
    seconds = 0.0

    def follow(
        self,
        image: Tensor,
        grids: list[Tensor],
        patches: list[Tensor] | None,
        meaning: Hashable = None,
    ) -> list[Tensor]:
        """Scores of the next frame, mixed with those of the frames before.

        Args:
            image: The frame, RGB (3, H, W), 0..255.
            grids: Its scores (R, h, w), of each view.
            patches: Features (C, h', w') of each view, if ``needs_patches``.
            meaning: Equal for scores that can be mixed: of one model and vocabulary.

        Returns:
            As ``grids``; of the first frame the same.

        Raises:
            OpenVocabError: The frame differs in size from those before, or its scores
                in what they are of.
        """
        start = time.perf_counter()
        size = tuple(image.shape[-2:])
        if self.memory is not None and size != self._size:
            (height, width), (old_height, old_width) = size, self._size
            raise OpenVocabError(
                f'The frame has {width} x {height} pixels in the model, those before '
                f'{old_width} x {old_height}: a temporal strategy follows frames of '
                'one size. Leave it out, or segment each part of the video by itself'
            )
        meaning = meaning, tuple(tuple(grid.shape) for grid in grids)
        if self.memory is not None and meaning != self._meaning:
            raise OpenVocabError(
                'The scores of the frames before are of other classes, another model '
                'or other test_cfg: begin anew, with another strategy of build_temporal'
            )
        self._size, self._meaning = size, meaning
        mixed, self.memory = self._mix(image, grids, patches)
        self.seconds += time.perf_counter() - start
        return mixed

    @abstractmethod
    def _mix(
        self, image: Tensor, grids: list[Tensor], patches: list[Tensor] | None
    ) -> tuple[list[Tensor], Any]:
        """Mixed scores, and the memory for the next frame."""


@dataclass(eq=False)
class Smooth(Temporal):
    """Exponential smoothing: a place keeps a share of its scores.

    What moves drags a trail. The memory, one frame's scores, is forgotten at a cut.

    Args:
        share: Of the frames before, 0..1 (below 1).
        cut: A frame whose colours, averaged in 16 x 16 cells, differ from those of the
            frame before by more than this on average (of 255) begins a new scene.
    """

    share: float = 0.7
    cut: float = 30.0

    def __post_init__(self) -> None:
        if not (is_number(self.share) and 0 <= self.share < 1):
            raise ValueError(
                f'temporal.share has to be from 0 on and below 1, not {self.share!r}'
            )
        if not is_positive(self.cut):
            raise ValueError(f'temporal.cut has to be positive, not {self.cut!r}')

    def _mix(
        self, image: Tensor, grids: list[Tensor], patches: list[Tensor] | None
    ) -> tuple[list[Tensor], Any]:
        colours = F.adaptive_avg_pool2d(image, _THUMBNAIL)
        if self.memory is not None:
            before, scores = self.memory
            if (colours - before).abs().mean() <= self.cut:
                grids = [
                    torch.lerp(own, past, self.share)
                    for own, past in zip(grids, scores, strict=True)
                ]
        return grids, (colours, grids)


@dataclass(eq=False)
class Propagate(Temporal):
    """Scores of earlier frames follow what they belong to, by the backbone's patches.

    A patch looks in the frames before for those most alike (cosine), not farther than
    ``radius`` patches away, and takes the mean of their scores and its own, weighted by
    a softmax over ``cosine / temperature``. Its own count as cosine 1: the less alike
    the others are, as after a cut, the more they win. The result is what is remembered.

    Where scores are finer than patches, what is added to them is the change on the grid
    of patches, resized. In memory are ``frames`` frames, each with scores and features
    of all patches.

    Source: label propagation on DAVIS of Caron et al., "Emerging Properties in
    Self-Supervised Vision Transformers" (DINO, ICCV 2021, arXiv 2104.14294); authors'
    code: facebookresearch/dino, eval_video_segmentation.py. There the labels of the
    first frame are given and kept, frames have no scores of their own, and the settings
    are 7 frames, 5 neighbours, radius 12, temperature 0.1.

    Args:
        frames: Earlier frames that are remembered.
        neighbours: Patches of all of them that a patch takes.
        radius: Largest distance, down and across, in patches.
        temperature: Of the softmax.
        map_index: Which of the backbone's maps the patches are.
    """

    frames: int = 2
    neighbours: int = 9
    radius: int = 2
    temperature: float = 0.1
    map_index: int = -1

    needs_patches = True

    def __post_init__(self) -> None:
        for name, least in (('frames', 1), ('neighbours', 1), ('radius', 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(
                    f'temporal.{name} has to be a whole number, at least {least}, not '
                    f'{value!r}'
                )
        # below it, cosine / temperature may be infinite
        if not (is_positive(self.temperature) and self.temperature >= 1e-6):
            raise ValueError(
                'temporal.temperature has to be positive, at least 1e-6, not '
                f'{self.temperature!r}'
            )
        if type(self.map_index) is not int:
            raise ValueError(
                f'temporal.map_index has to be a whole number, not {self.map_index!r}'
            )

    def patches_of(self, features: VisualFeatures) -> Tensor:
        """The patches (B, C, h, w) of a backbone.

        Raises:
            OpenVocabError: It gives no such map.
        """
        maps = features.maps
        if not -len(maps) <= self.map_index < len(maps):
            raise OpenVocabError(
                f'temporal.map_index is {self.map_index}, but the backbone gives '
                f'{len(maps)} map{"s" * (len(maps) > 1)}'
            )
        return maps[self.map_index]

    def _mix(
        self, image: Tensor, grids: list[Tensor], patches: list[Tensor] | None
    ) -> tuple[list[Tensor], Any]:
        memory = self.memory or [()] * len(grids)
        views = [
            self._mix_view(*view) for view in zip(grids, patches, memory, strict=True)
        ]
        mixed, memory = zip(*views, strict=True)
        return list(mixed), list(memory)

    def _mix_view(
        self, grid: Tensor, patches: Tensor, past: tuple[tuple[Tensor, Tensor], ...]
    ) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
        """Mixed scores of a view; features (C, h, w) and scores (h * w, R) to keep."""
        size = tuple(patches.shape[-2:])
        features = F.normalize(patches.float(), dim=0)
        same = tuple(grid.shape[-2:]) == size
        coarse = grid if same else F.adaptive_avg_pool2d(grid, size)
        rows = coarse.flatten(1).t()
        if past:
            sources, scores = zip(*past, strict=True)
            alike, index = nearest_patches(
                features, torch.stack(sources), self.radius, self.neighbours
            )
            own = torch.ones_like(alike[:, :1])
            weights = (torch.cat([own, alike], 1) / self.temperature).softmax(dim=1)
            carried = F.embedding_bag(
                index,
                torch.cat(scores),
                per_sample_weights=weights[:, 1:].contiguous(),
                mode='sum',
            )
            rows = carried.addcmul_(weights[:, :1], rows)
            mixed = rows.t().unflatten(1, size)
            if same:
                grid = mixed
            else:
                change = (mixed - coarse)[None]
                shape = grid.shape[-2:]
                grid = grid + F.interpolate(change, shape, mode='bilinear')[0]
        return grid, (*past, (features, rows.contiguous()))[-self.frames :]


def nearest_patches(
    query: Tensor, sources: Tensor, radius: int, count: int
) -> tuple[Tensor, Tensor]:
    """The patches of some frames that are most alike, near the same place.

    Rows of patches are compared one after the other: memory grows with the width of the
    grid, not with its area.

    Args:
        query: Unit features (C, h, w).
        sources: Unit features (F, C, h, w) of the frames.
        radius: Largest distance down and across.
        count: How many, if there are so many in a row of all frames.

    Returns:
        Cosines (h * w, count), -inf for what is too far away, and the places
        (h * w, count) of the patches among the ``F * h * w``.
    """
    frames, _, height, width = sources.shape
    places = torch.arange(width, device=query.device)
    far = ((places[:, None] - places).abs() > radius)[:, None, None]
    count = min(count, frames * width)
    cosines, indices = [], []
    for row in range(height):
        top, bottom = max(0, row - radius), min(height, row + radius + 1)
        band = sources[:, :, top:bottom]
        alike = torch.einsum('cx,fcyz->xfyz', query[:, row], band)
        alike, at = alike.masked_fill(far, -torch.inf).flatten(1).topk(count, dim=1)
        frame, place = at // band[0, 0].numel(), at % band[0, 0].numel()
        cosines.append(alike)
        indices.append(frame * (height * width) + top * width + place)
    return torch.cat(cosines), torch.cat(indices)


STRATEGIES = dict(smooth=Smooth, propagate=Propagate)


def build_temporal(temporal: object | None) -> Temporal | None:
    """A strategy without memory.

    Args:
        temporal: ``'none'`` or None, ``'smooth'``, ``'propagate'``, or a dict with this
            as ``type`` and settings of :class:`Smooth` or :class:`Propagate`. A
            strategy is taken as it is, with its memory.

    Raises:
        OpenVocabError: There is no such strategy or setting, or a value does not fit.
    """
    if temporal is None or isinstance(temporal, Temporal):
        return temporal
    settings = dict(temporal) if isinstance(temporal, Mapping) else dict(type=temporal)
    name = settings.pop('type', None)
    if name == 'none' and not settings:
        return None
    if not isinstance(name, str) or name not in STRATEGIES:
        hint = ', which takes no settings' if name == 'none' else ''
        raise OpenVocabError(
            f'There is no temporal strategy {name!r}{hint}: there are none, '
            f'{" and ".join(STRATEGIES)}'
        )
    return read_settings(STRATEGIES[name], 'temporal', settings)
