"""Local-global inference: windows of a stretched image, and all of it at once.

Sources: Cho et al., "CAT-Seg" (CVPR 2024, arXiv 2303.11797), cvlab-kaist/CAT-Seg
cat_seg/cat_seg_model.py, which averages logits; dinov3.seg (arXiv 2603.19531), which
averages features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmseg_ovs.structures import VisualFeatures

from ..utils import Window, merge_windows, split_windows
from .inference import Layout, WindowedInference


class LogitsAggregation(WindowedInference):
    """Averages what the head says of the windows with what it says of the image.

    Windows are cut from the image stretched to ``image_size``; the last view is the
    image itself, stretched to ``crop_size``. As CAT-Seg does, logits are resized to
    the size of the view before the head's activation. Then overlapping windows are
    averaged, the last view is resized to the whole, and the mean of both is taken.

    Raises:
        ValueError: The model has post-processors that need scores on the patch grid.
    """

    def lay_out(self, image: Tensor) -> Layout:
        """Windows of the stretched image, and the image at their size."""
        layout = super().lay_out(self.to_size(image, self.cfg.image_size))
        layout.views.append(self.to_size(image, self.cfg.crop_size))
        return layout

    def score_features(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """Logits, not yet activated."""
        for processor in self.model.postprocessors:
            if processor.stage == 'grid':
                raise ValueError(
                    f'{type(processor).__name__} works on scores on the patch grid, '
                    "which aggregation='logits' does not have (logits are resized "
                    "before they are activated): use test_cfg.mode 'slide' or leave "
                    'the post-processor out'
                )
        return self.model.run_head(self.model.run_neck(features), text)

    def to_view(self, grid: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize, then activate."""
        return self.model.decode_head.activate(super().to_view(grid, size))

    def highest_score(self, grids: list[Tensor], scale: float) -> None:
        """Not known: logits are activated later."""
        return None

    def merge(self, maps: list[Tensor], layout: Layout) -> Tensor:
        """Mean of the merged windows and the view of the whole image."""
        *local, whole = maps
        merged = super().merge(local, layout)
        return (merged + self.resize(whole, layout.size)) / 2


class FeatureAggregation(WindowedInference):
    """Averages the backbone's maps of the windows with those of the whole image.

    Windows are cut from the image stretched to ``image_size``. Their maps are put
    back on the patch grid of the whole, averaged where they overlap and averaged with
    the maps of the whole; neck and head then run once, as if on one image. Tokens
    besides the maps are those of the whole.

    Raises:
        ValueError: Windows do not begin and end on the patch grid.
    """

    merges_scores = False

    def lay_out(self, image: Tensor) -> Layout:
        """One view: the stretched image."""
        canvas = self.to_size(image, self.cfg.image_size)
        height, width = canvas.shape[-2:]
        return Layout(canvas, [Window(0, height, 0, width)], [canvas])

    def look(self, inputs: Tensor) -> VisualFeatures:
        """Features of stretched images, averaged over all their views."""
        return self.aggregate(inputs)

    def aggregate(self, images: Tensor) -> VisualFeatures:
        """Features of stretched images (B, 3, H, W), local and global.

        Windows run in batches, see ``window_batch_size``.
        """
        size = tuple(images.shape[-2:])
        windows = self.cfg.windows(size)
        whole = self.model.run_backbone(images)
        grids = [self._on_grid(windows, size, m.shape[-2:]) for m in whole.maps]
        views = [view for image in images for view in split_windows(image, windows)]
        batches = self.batches(images.device).run(
            views,
            lambda batch: self.model.run_backbone(torch.stack(list(batch))).maps,
            kind=('features', windows[0].size),
            window=windows[0].size,
        )
        maps = []
        for whole_map, grid, parts in zip(
            whole.maps, grids, zip(*batches, strict=True), strict=True
        ):
            local = torch.cat(parts)
            wanted = grid[0].size
            if tuple(local.shape[-2:]) != wanted:
                raise ValueError(
                    f'The backbone gives windows of {tuple(self.cfg.crop_size)} a map '
                    f'of {tuple(local.shape[-2:])}, where they cover {wanted} of the '
                    f'grid of the whole image {tuple(whole_map.shape[-2:])}: its '
                    'stride has to be the same for every size'
                )
            local = local.unflatten(0, (len(images), len(windows)))
            merged = torch.stack(
                [merge_windows(m.unbind(), grid, whole_map.shape[-2:]) for m in local]
            )
            maps.append((merged + whole_map) / 2)
        return whole._replace(maps=tuple(maps))

    def _on_grid(
        self, windows: Sequence[Window], size: tuple[int, int], grid: Sequence[int]
    ) -> list[Window]:
        """Windows in cells of a feature map's grid."""
        strides = [side // cells for side, cells in zip(size, grid, strict=True)]
        exact = all(
            s * c == side for s, c, side in zip(strides, grid, size, strict=True)
        )
        vertical, horizontal = strides
        placed = []
        for window in windows:
            rows = [divmod(place, vertical) for place in window[:2]]
            columns = [divmod(place, horizontal) for place in window[2:]]
            if not exact or any(rest for _, rest in rows + columns):
                raise ValueError(
                    f'Windows of {tuple(self.cfg.crop_size)} at stride '
                    f'{tuple(self.cfg.stride)} on an image of {size} do not begin and '
                    f'end on the grid of a feature map of {tuple(grid)}, for instance '
                    f'{tuple(window)} (top, bottom, left, right): make '
                    'test_cfg.image_size, crop_size and stride multiples of the '
                    "backbone's patch"
                )
            placed.append(Window(*[cell for cell, _ in rows + columns]))
        return placed
