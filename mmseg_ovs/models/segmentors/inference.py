"""Whole-image and sliding-window inference with bounded memory.

Every view of an image leaves only its scores on the patch grid; they are resized,
refined, merged and compared a chunk of rows at a time, so that the scores of all
classes at image size never exist together unless the caller keeps them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from mmseg.models.utils import resize
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures, Vocabulary
from mmseg_ovs.utils import NonFiniteError, OpenVocabError

from ..postprocessors import ImagePostProcessor
from ..utils import (
    ReachedRows,
    RunningArgmax,
    Window,
    merge_windows,
    resize_argmax,
    resize_images,
    rows_per_chunk,
    split_windows,
)
from .row_bounds import best_rows
from .settings import InferenceCfg
from .temporal import Temporal
from .window_batches import WindowBatches

# A post-processor and what it prepared of an image.
Refinement = tuple[ImagePostProcessor, object]


@dataclass
class Layout:
    """The views of one image that are scored.

    Attributes:
        canvas: The image (3, H, W) on which their scores are merged.
        windows: Where they lie on it.
        views: The images of the windows; more may follow, as a strategy defines.
    """

    canvas: Tensor
    windows: list[Window]
    views: list[Tensor]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        return tuple(self.canvas.shape[-2:])

    @property
    def view_sizes(self) -> list[tuple[int, int]]:
        """Height and width of each view."""
        return [tuple(view.shape[-2:]) for view in self.views]


@dataclass
class WindowedInference:
    """Runs a segmentor over windows and turns scores into labels.

    Subclasses change which views an image has and how their scores are merged.

    Args:
        model: An ``OpenVocabSegmentor``.
        cfg: How.
        temporal: The images are the next frames of the video that it follows. None:
            they have nothing to do with one another.
    """

    model: nn.Module
    cfg: InferenceCfg
    temporal: Temporal | None = None

    def __call__(
        self, images: Sequence[Tensor], metas: Sequence[Mapping], vocabulary: Vocabulary
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Segment images of any sizes.

        Args:
            images: Normalised images (3, H, W).
            metas: ``ori_shape`` and ``flip`` of each, if they have them.
            vocabulary: The classes.

        Returns:
            Labels (H, W) at the original size for each image and, with
            ``keep_logits``, class scores (N, H, W), else None.

        Raises:
            NonFiniteError: Scores are NaN or infinite; names the image.
            OpenVocabError: See :meth:`check`.
        """
        self.check(vocabulary)  # before the work
        layouts = [self.lay_out(image) for image in images]
        text = self.model.project_vocabulary(vocabulary)
        scores = self.score(layouts, text)
        if self.temporal is not None:
            scores = self._follow(layouts, scores, vocabulary)
        results = [
            self._finish(
                layout, grids, tuple(meta.get('ori_shape', size)[:2]), meta, vocabulary
            )
            for layout, grids, size, meta in zip(
                layouts,
                scores,
                [tuple(image.shape[-2:]) for image in images],
                metas,
                strict=True,
            )
        ]
        labels, maps, broken = zip(*results, strict=True)
        _require_finite(broken, labels, metas)
        return list(zip(labels, maps, strict=True))

    def check(self, vocabulary: Vocabulary) -> None:
        """Refuse settings that do not go with a vocabulary or with the model.

        Raises:
            OpenVocabError: ``test_cfg`` needs a background and there is none, or leaves
                out the maps that a post-processor needs; scores of another scale
                would be compared with a constant background score; or names met in
                training are not known, see :meth:`InferenceCfg.handicaps`.
        """
        self.cfg.background_of(vocabulary)
        self._check_processors()
        self._check_scale(vocabulary)
        self.cfg.handicaps(vocabulary, self.model.trained_names)

    # ----------------------------------------------------- what strategies change
    @property
    def merges_scores(self) -> bool:
        """Whether scores of several views are merged."""
        return self.cfg.mode != 'whole'

    def lay_out(self, image: Tensor) -> Layout:
        """Views of an image (3, H, W)."""
        windows = self.cfg.windows(tuple(image.shape[-2:]))
        return Layout(image, windows, split_windows(image, windows))

    def score(self, layouts: list[Layout], text: Tensor) -> list[list[Tensor]]:
        """Grid scores (R, h, w) of every view of every image, batched by size."""
        keeps = self.temporal is not None and self.temporal.needs_patches
        score = self._score_and_look if keeps else self.score_batch
        found = self.run_views(
            layouts,
            lambda inputs: score(inputs, text),
            kind=('scores', len(text)),
            input_size=self.cfg.input_size,
        )
        if keeps:
            self.patches = [[patches for _, patches in views] for views in found]
            found = [[scores for scores, _ in views] for views in found]
        return found

    def _score_and_look(
        self, inputs: Tensor, text: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Grid scores (R, h, w) and patches (C, h', w') of images (B, 3, H, W)."""
        features = self.look(inputs)
        patches = self.temporal.patches_of(features)
        return list(zip(self.score_features(features, text), patches, strict=True))

    def _follow(
        self,
        layouts: list[Layout],
        scores: list[list[Tensor]],
        vocabulary: Vocabulary,
    ) -> list[list[Tensor]]:
        """Scores of consecutive frames, each mixed with those before."""
        patches = self.patches if self.temporal.needs_patches else [None] * len(scores)
        images = [self.model.denormalize(layout.canvas) for layout in layouts]
        frames = zip(images, scores, patches, strict=True)
        meaning = id(self.model), vocabulary
        return [self.temporal.follow(*frame, meaning) for frame in frames]

    def run_views(
        self,
        layouts: list[Layout],
        call: Callable[[Tensor], Tensor],
        kind: Hashable,
        input_size: tuple[int, int] | None = None,
    ) -> list[list[Tensor]]:
        """What ``call`` makes of every view of every image, batched by size.

        Args:
            layouts: The images.
            call: Maps (B, n, h, w) of images (B, 3, H, W).
            kind: Equal for calls that take equal memory for views of one size.
            input_size: Views are resized to it. None: as they are.

        Returns:
            (n, h, w) of every view, by image.
        """
        views = [view for layout in layouts for view in layout.views]
        sizes = [tuple(input_size or view.shape[-2:]) for view in views]
        results: list[Tensor | None] = [None] * len(views)
        for size in dict.fromkeys(sizes):
            members = [i for i, s in enumerate(sizes) if s == size]

            def run(batch: Sequence[int], size: tuple[int, int] = size) -> Tensor:
                return call(torch.stack([self.to_size(views[i], size) for i in batch]))

            batches = self.batches(views[0].device)
            maps = batches.run(members, run, kind=(kind, size), window=size)
            for i, result in zip(members, itertools.chain(*maps), strict=True):
                results[i] = result
        remaining = iter(results)
        return [[next(remaining) for _ in layout.views] for layout in layouts]

    def batches(self, device: torch.device) -> WindowBatches:
        """How views run together."""
        known = self.model.window_bytes
        return WindowBatches.on(device, self.cfg.window_batch_size, known)

    def score_batch(self, inputs: Tensor, text: Tensor) -> Tensor:
        """Grid scores (B, R, h, w) of images (B, 3, H, W)."""
        return self.score_features(self.look(inputs), text)

    def look(self, inputs: Tensor) -> VisualFeatures:
        """Features of images (B, 3, H, W) before the neck."""
        return self.model.run_backbone(inputs)

    def score_features(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """Grid scores (B, R, h, w) from features before the neck."""
        features = self.model.run_neck(features)
        return self.model.decode(features, text, self.cfg.refine)

    def to_view(self, grid: Tensor, size: tuple[int, int]) -> Tensor:
        """Grid scores (n, h, w) of some rows to scores at the size of their view."""
        return grid if self.cfg.resize_once else self.resize(grid, size)

    def bounds_hold(self, grids: list[Tensor]) -> bool:
        """Whether scores above others on the grid stay so (see :mod:`.row_bounds`).

        Not asked on a GPU, which would have to wait for the answer.
        """
        stages = ('window', 'image', 'output')
        refined = [p for stage in stages for p in self._processors(stage)]
        return grids[0].device.type == 'cpu' and all(p.averages for p in refined)

    def highest_score(self, grids: list[Tensor], scale: float) -> float | None:
        """What :class:`RunningArgmax` takes as ``top``, if it holds and pays.

        Resizing, merging and PAMR average scores: nothing gets above the highest of a
        grid, and the best of a pixel not below what one row has everywhere.
        """
        if not self.bounds_hold(grids):
            return None
        top = max(float(grid.max()) for grid in grids)
        lows = torch.stack([grid.amin(dim=(1, 2)) for grid in grids]).amin(dim=0)
        return top if scale * (top - float(lows.max())) < 60 else None

    def merge(self, maps: list[Tensor], layout: Layout) -> Tensor:
        """Scores (n, h, w) of all views to scores on the canvas."""
        return merge_windows(maps, layout.windows, layout.size)

    # ------------------------------------------------------------ what they share
    def to_size(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize an image (3, h, w)."""
        return resize_images(image[None], size, self.cfg.input_antialias)[0]

    def resize(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize scores (n, h, w)."""
        if tuple(scores.shape[-2:]) == tuple(size):
            return scores
        return resize(
            scores[None],
            size,
            mode='bilinear',
            align_corners=self.model.align_corners,
            warning=False,
        )[0]

    def _finish(
        self,
        layout: Layout,
        scores: list[Tensor],
        out_size: tuple[int, int],
        meta: Mapping,
        vocabulary: Vocabulary,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Grid scores of one image's views to labels (and class scores).

        The last result is the number of pixels without a finite score. It is read when
        all images are done: a GPU would wait for it.
        """
        cfg = self.cfg
        refinements = self._prepare(layout, out_size, meta)
        row_to_class = vocabulary.row_to_class
        names = None
        if cfg.best_name_before_resize:
            row_to_class, counts = row_to_class.unique_consecutive(return_counts=True)
            names = counts.tolist()
        row_to_class = _to_device(row_to_class, scores[0].device)
        handicaps = cfg.handicaps(vocabulary, self.model.trained_names)
        if handicaps is not None:
            handicaps = handicaps.to(scores[0].device)[row_to_class]
        background = cfg.background_of(vocabulary)
        kept = [] if cfg.keep_logits else None
        constant = vocabulary.background_score
        plain = background is None and constant is None and not cfg.keep_logits
        scale = None if plain else cfg.logit_scale  # the best row needs none
        argmax = self._best_rows(
            layout, scores, refinements, out_size, meta, handicaps, kept, scale, names
        )
        broken = argmax.best.numel() - argmax.best.isfinite().count_nonzero()
        labels, best = row_to_class[argmax.index], argmax.best
        small = None
        if cfg.min_area:
            classes = vocabulary.num_classes
            small = small_classes(labels, classes, background, cfg.min_area)
        if small is not None and small.any():
            rows = (~small)[row_to_class].nonzero()[:, 0]
            rest = [grid[rows] for grid in scores]
            lost = None if handicaps is None else handicaps[rows]
            second = self._best_rows(layout, rest, refinements, out_size, meta, lost)
            labels, best = row_to_class[rows[second.index]], second.best
        if cfg.min_probability:
            improbable = argmax.probability(best) < cfg.min_probability
            labels.masked_fill_(improbable, background)
        if constant is not None:
            best = best if scale is None else argmax.probability(best)
            labels.masked_fill_(best <= constant, vocabulary.background_label)
        if kept is None:
            return labels, None, broken
        maps = torch.cat(kept)
        if scale is not None:
            maps = argmax.probability(maps)
        maps = vocabulary.reduce(maps[None])[0] if names is None else maps
        if small is not None:
            maps.masked_fill_(small[:, None, None], 0)
        return labels, maps, broken

    def _prepare(
        self, layout: Layout, out_size: tuple[int, int], meta: Mapping
    ) -> dict[str, list[list[Refinement]]]:
        """Refinements of each stage, for each of the maps that it has."""
        canvas = layout.canvas
        images = dict(window=layout.views, image=[canvas], output=[])
        if self._processors('output'):
            images['output'] = [_unflip(self.resize(canvas, out_size), meta)]
        return {
            stage: [
                [(p, p.prepare(self.model.denormalize(image))) for image in members]
                for p in self._processors(stage)
            ]
            for stage, members in images.items()
        }

    def _best_rows(
        self,
        layout: Layout,
        scores: list[Tensor],
        refinements: dict[str, list[list[Refinement]]],
        out_size: tuple[int, int],
        meta: Mapping,
        handicaps: Tensor | None,
        kept: list[Tensor] | None = None,
        scale: float | None = None,
        names: list[int] | None = None,
    ) -> RunningArgmax:
        """Best row of every pixel, from the grid scores of the views.

        Where nothing but the best row is asked for, rows that win nowhere are left out.

        Args:
            handicaps: What the scores of each map lose before they are compared.
            kept: Receives the scores (n, H, W) of the chunks at the original size.
            scale: See :class:`RunningArgmax`.
            names: How many consecutive rows make one map, the best of them, before the
                resize to the original size. None: one each.
        """
        softmax = self.cfg.window_softmax and self.merges_scores
        log_sums = self._log_sums(scores, layout) if softmax else None
        top = None
        if scale is not None and handicaps is None:
            top = self.highest_score(scores, scale)
        argmax = RunningArgmax(out_size, scores[0].device, scores[0].dtype, scale, top)

        def sweep(
            grids: list[Tensor], into: RunningArgmax | ReachedRows = argmax
        ) -> None:
            self._sweep(
                *(layout, grids, refinements, meta, into, log_sums),
                *(handicaps, kept, names),
            )

        if (
            kept is None
            and scale is None
            and names is None
            and handicaps is None
            and self.bounds_hold(scores)
        ):
            best_rows(scores, sweep, argmax)
        else:
            sweep(scores)
        return argmax

    def _sweep(
        self,
        layout: Layout,
        scores: list[Tensor],
        refinements: dict[str, list[list[Refinement]]],
        meta: Mapping,
        argmax: RunningArgmax | ReachedRows,
        log_sums: list[Tensor] | None,
        handicaps: Tensor | None,
        kept: list[Tensor] | None,
        names: list[int] | None,
    ) -> None:
        """Resize, refine and merge the grid scores of the views, in chunks.

        Args:
            argmax: Receives the maps.
            log_sums: Of all rows in every view, if scores become a softmax.
            handicaps, kept, names: See :meth:`_best_rows`.
        """
        out_size = tuple(argmax.best.shape)
        at_output = kept is not None or refinements['output']
        pixels = max(math.prod(layout.size), sum(map(math.prod, layout.view_sizes)))
        if at_output:
            pixels = max(pixels, math.prod(out_size))
        chunk = rows_per_chunk((1, pixels), self.cfg.chunk_mb)
        row = index = 0
        for counts in _whole_classes(names or [1] * len(scores[0]), chunk):
            rows = slice(row, row + sum(counts))
            maps = [
                self.to_view(grid[rows], size)
                for grid, size in zip(scores, layout.view_sizes, strict=True)
            ]
            if log_sums is not None:
                for i, log_sum in enumerate(log_sums):
                    maps[i] = (maps[i] - log_sum).exp_()
            maps = _refine(maps, refinements['window'])
            merged = self.merge(maps, layout)
            (merged,) = _refine([merged], refinements['image'])
            if len(merged) > len(counts):
                merged = torch.stack([m.amax(dim=0) for m in merged.split(counts)])
            merged = _unflip(merged, meta)
            if at_output:
                merged = self.resize(merged, out_size)
                (merged,) = _refine([merged], refinements['output'])
            if handicaps is not None:
                lost = handicaps[index : index + len(counts)]
                merged = merged - lost[:, None, None]
            if kept is not None:
                kept.append(merged)
            corners = self.model.align_corners
            resize_argmax(merged, argmax, index, corners, self.cfg.chunk_mb)
            row, index = rows.stop, index + len(counts)

    def _check_scale(self, vocabulary: Vocabulary) -> None:
        """Refuse a constant background score where the scale of scores changes."""
        changed = ['test_cfg.propagation'] if self.cfg.propagation else []
        changed += [
            type(p).__name__
            for stage in ImagePostProcessor.STAGES
            for p in self._processors(stage)
            if not p.keeps_scale
        ]
        score = vocabulary.background_score
        if changed and score is not None and self.cfg.logit_scale is None:
            raise OpenVocabError(
                f'{changed[0]} changes the scale of scores, up to 1 / (1 - alpha) '
                f'times, and the background is where none is above {score:g}: '
                "give it names (background=dict(type='names', names=[...])), or "
                'test_cfg.logit_scale, or leave the propagation out'
            )

    def _check_processors(self) -> None:
        if self.cfg.resize_once:
            for p in [*self._processors('window'), *self._processors('image')]:
                raise OpenVocabError(
                    f'{type(p).__name__}(stage={p.stage!r}) needs scores at the size '
                    "of the input, which test_cfg.resize_once leaves out: use stage='"
                    "output' or resize_once=False"
                )

    def _processors(self, stage: str) -> list[ImagePostProcessor]:
        """Post-processors that run on maps at a stage."""
        return self.model.image_postprocessors(stage) if self.cfg.refine else []

    def _log_sums(self, scores: list[Tensor], layout: Layout) -> list[Tensor]:
        """Log-sum-exp (H, W) over the rows of every view at its size, in chunks."""
        sums = []
        for grid, size in zip(scores, layout.view_sizes, strict=True):
            total = grid.new_full(size, -torch.inf)
            for part in grid.split(rows_per_chunk(size, self.cfg.chunk_mb)):
                partial = self.to_view(part, size).logsumexp(dim=0)
                torch.logaddexp(total, partial, out=total)
            sums.append(total)
        return sums


def _refine(maps: list[Tensor], refinements: list[list[Refinement]]) -> list[Tensor]:
    """Run the refinements of a stage one after the other on maps (n, H, W)."""
    for prepared in refinements:
        maps = [
            processor.refine(scores, ready)
            for scores, (processor, ready) in zip(maps, prepared, strict=True)
        ]
    return maps


def _whole_classes(names: list[int], chunk: int) -> Iterator[list[int]]:
    """Split classes of some rows each into chunks of rows; one class at least."""
    counts: list[int] = []
    total = 0
    for count in names:
        if counts and total + count > chunk:
            yield counts
            counts, total = [], 0
        counts.append(count)
        total += count
    yield counts


def small_classes(
    labels: Tensor, num_classes: int, background: int, min_area: float
) -> Tensor:
    """Which classes (N,) have no more than a share of the pixels (H, W) not background.

    Source: SCLIP's ``area_thd`` (wangf3014/SCLIP, clip_segmentor.py).
    """
    counts = labels.flatten().bincount(minlength=num_classes)
    foreground = labels.numel() - counts[background]
    small = counts <= min_area * foreground
    small[background] = False
    return small


def _to_device(row_to_class: Tensor, device: torch.device) -> Tensor:
    """Classes of the rows on a device; with one name each nothing is copied."""
    if torch.equal(row_to_class, torch.arange(len(row_to_class))):
        return torch.arange(len(row_to_class), device=device)
    return row_to_class.to(device)


def _require_finite(
    broken: Sequence[Tensor], labels: Sequence[Tensor], metas: Sequence[Mapping]
) -> None:
    """Refuse scores of which an arg max would make class 0.

    Args:
        broken: Pixels of each image whose best score is NaN, as it is where any is, or
            infinite; a class may be -inf.
        labels: Label map (H, W) of each image.
        metas: Their ``img_path``.
    """
    counts = torch.stack(broken).tolist()  # the one value of a batch that is read back
    for count, pixels, meta in zip(counts, labels, metas, strict=True):
        if count:
            raise NonFiniteError(
                f'the scores of {count} of {pixels.numel()} pixels of '
                f'{meta.get("img_path", "an image")} are NaN or infinite: the weights '
                'are damaged, or numbers were too large for the precision (try without '
                '--bf16)'
            )


def _unflip(scores: Tensor, meta: Mapping) -> Tensor:
    """Undo the flip of a test-time augmentation on maps (n, H, W)."""
    if not meta.get('flip'):
        return scores
    axis = {'horizontal': -1, 'vertical': -2}[meta['flip_direction']]
    return scores.flip(axis)
