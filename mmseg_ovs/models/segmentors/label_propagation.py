"""Label propagation: scores of all patches of an image, spread over a graph of them.

Source: Stojnić et al., "LPOSS: Label Propagation Over Patches and Pixels for
Open-vocabulary Semantic Segmentation" (CVPR 2025, arXiv 2503.19777); authors' code:
vladan-stojnic/LPOSS, segmentation/evaluation/lposs_eval.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmseg_ovs.utils import OpenVocabError

from ..utils import FrozenTeacher, Window, rows_per_chunk
from ..utils.conjugate_gradient import conjugate_gradient
from .inference import Layout, WindowedInference
from .settings import PropagationCfg

_ROWS = 1024  # of the graph that are built together


class PatchGraph(BaseModule):
    """The network whose features say which patches belong together.

    It is no part of the model: no checkpoint holds it, nothing trains it
    (:class:`FrozenTeacher`).

    Args:
        backbone: Config of any backbone that returns feature maps; its ``init_cfg``
            names its weights.
        index: Which of its maps.
        mean, std: Normalisation of its images, RGB, 0..255; ImageNet's by default.
    """

    def __init__(
        self,
        backbone: Mapping,
        index: int = -1,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
    ) -> None:
        super().__init__()
        self.proxy = FrozenTeacher(backbone, out_index=index)
        for name, value in (('mean', mean), ('std', std)):
            value = torch.tensor(value).view(3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def init_weights(self) -> None:
        """Load the weights now, before the first image needs them.

        Raises:
            CheckpointError: Weights are not available or do not fit.
        """
        self.proxy.network(self.mean.device)

    def forward(self, images: Tensor) -> Tensor:
        """RGB images (B, 3, H, W), 0..255, to unit features (B, C, h, w).

        Raises:
            ValueError: The map does not lie on the image, or is none.
        """
        features = self.proxy.on_image((images - self.mean) / self.std)
        return F.normalize(features, dim=1)


def patch_affinity(features: Tensor, places: Tensor, cfg: PropagationCfg) -> Tensor:
    """Symmetrically normalised weights (N, N) between patches.

    A patch chooses the ``neighbours`` most alike, itself among them, or all if there
    are fewer. The weight is ``max(0, cosine)^gamma exp(-sigma distance)``; it counts
    twice where both choose each other.

    Args:
        features: Unit features (N, C).
        places: Centres (N, 2) of the patches in pixels.
        cfg: Settings.
    """
    count = len(features)
    chosen = features.new_zeros(count, count)
    for start in range(0, count, _ROWS):
        rows = slice(start, start + _ROWS)
        alike = features[rows] @ features.t()
        alike, indices = alike.topk(min(cfg.neighbours, count), dim=1)
        # of places a pixel apart, a matrix product would lose the distance
        distance = torch.cdist(
            places[rows], places, compute_mode='donot_use_mm_for_euclid_dist'
        )
        near = (distance.gather(1, indices) * -cfg.sigma).exp_()
        weights = alike.clamp_(min=0).pow_(cfg.gamma).mul_(near)
        chosen[rows].scatter_(1, indices, weights)
    weights = chosen + chosen.t()
    weights.fill_diagonal_(0)
    degree = weights.sum(dim=1)
    scale = torch.where(degree == 0, 1, degree).rsqrt()
    return weights.mul_(scale[:, None]).mul_(scale)


class LabelPropagation(WindowedInference):
    """Windows whose scores are propagated over the patches of all of them.

    The patches of all windows of an image are the nodes of one graph; a place in two
    windows is two nodes. Scores y become x by some iterations of conjugate gradients on
    ``(I - alpha W) x = y`` with W of :func:`patch_affinity`, each row by itself: not
    the exact solution, stopping early belongs to the method.

    Scores lie on the grid of the graph's network, to which the head's are resized.

    Raises:
        OpenVocabError: An image has more patches than ``max_patches``.
    """

    def score(self, layouts: list[Layout], text: Tensor) -> list[list[Tensor]]:
        """Propagated grid scores (R, h, w) of every view of every image."""
        scores = super().score(layouts, text)
        features = self.run_views(layouts, self._features, kind='graph')
        return [
            self.propagate(*parts)
            for parts in zip(scores, features, layouts, strict=True)
        ]

    def _features(self, inputs: Tensor) -> Tensor:
        """Unit features (B, C, h, w) of normalised images."""
        return self.model.run_part(self.model.graph, self.model.denormalize(inputs))

    def propagate(
        self, scores: list[Tensor], features: list[Tensor], layout: Layout
    ) -> list[Tensor]:
        """Scores of all views of one image to propagated scores.

        Args:
            scores: Grid scores (R, h, w) of each view.
            features: Unit features (C, h', w') of each.
            layout: Where the views lie.

        Returns:
            (R, h', w') of each view.
        """
        cfg = self.cfg.propagation
        grids = [tuple(f.shape[-2:]) for f in features]
        counts = [height * width for height, width in grids]
        if sum(counts) > cfg.max_patches:
            raise OpenVocabError(
                f'An image of {layout.size[0]} x {layout.size[1]} pixels has '
                f'{sum(counts)} patches in {len(counts)} windows, more than '
                f'test_cfg.propagation.max_patches ({cfg.max_patches}): their graph '
                f'takes {8 * sum(counts) ** 2 / 2**30:.1f} GiB. Resize images to a '
                'smaller size, take a larger stride, or raise max_patches'
            )
        nodes = torch.cat([f.flatten(1).t() for f in features])
        places = [
            _centres(grid, window, nodes.device)
            for grid, window in zip(grids, layout.windows, strict=True)
        ]
        weights = patch_affinity(nodes, torch.cat(places), cfg)

        def multiply(columns: Tensor) -> Tensor:
            return torch.addmm(columns, weights, columns, alpha=-cfg.alpha)

        chunk = rows_per_chunk((1, len(nodes)), self.cfg.chunk_mb)
        parts = []
        for maps in zip(*(s.split(chunk) for s in scores), strict=True):
            maps = [self.resize(m, g) for m, g in zip(maps, grids, strict=True)]
            columns = torch.cat([m.flatten(1).t() for m in maps])
            parts.append(conjugate_gradient(multiply, columns, cfg.iterations).t())
        views = torch.cat(parts).split(counts, dim=1)
        return [v.unflatten(1, g) for v, g in zip(views, grids, strict=True)]


def _centres(grid: tuple[int, int], window: Window, device: torch.device) -> Tensor:
    """Centres (h * w, 2), row and column, of the cells of a grid on a window."""
    corner = window.top, window.left
    rows, columns = (
        (torch.arange(cells, device=device) + 0.5) * (side / cells) + start
        for cells, side, start in zip(grid, window.size, corner, strict=True)
    )
    return torch.cartesian_prod(rows, columns)
