"""SAM's own way with images that are not square: fit in, pad the rest.

Source: Kirillov et al., "Segment Anything" (arXiv 2304.02643);
facebookresearch/segment-anything (``ResizeLongestSide``, ``Sam.preprocess``): the
longest side comes to 1024, and zeros behind the normalised image fill the square.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from .images import resize_images


class PaddedFit(NamedTuple):
    """An image in the upper left corner of a canvas, in its own proportions.

    Attributes:
        canvas: Height and width of the canvas.
        size: Height and width of the image in it.
    """

    canvas: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(
        cls, canvas: tuple[int, int], image: Tensor, sample: SegDataSample
    ) -> PaddedFit:
        """The fit of an image (3, H, W) that a pipeline has stretched.

        Args:
            canvas: Height and width of the canvas.
            image: The image as the pipeline made it.
            sample: Its ``scale_factor`` (width, height), which ``Resize`` notes, undoes
                the stretch.

        Raises:
            ValueError: It has none, and is of another size than its file.
        """
        height, width = image.shape[-2:]
        factor = sample.get('scale_factor')
        if factor is None and sample.get('ori_shape') != (height, width):
            raise ValueError(
                f'{sample.get("img_path", "A sample")} does not say how the pipeline '
                "has stretched it, which input_fit='pad' undoes: add 'scale_factor' "
                'to the meta_keys of the transform that packs it'
            )
        if factor is not None:
            width, height = width / factor[0], height / factor[1]
        scale = min(canvas[0] / height, canvas[1] / width)
        return cls(
            canvas, (max(1, round(scale * height)), max(1, round(scale * width)))
        )

    def place(self, image: Tensor) -> Tensor:
        """A normalised image (3, H, W), whatever its stretch, on its canvas."""
        image = resize_images(image[None], self.size)[0]
        bottom, right = (c - s for c, s in zip(self.canvas, self.size, strict=True))
        return F.pad(image, (0, right, 0, bottom))

    def cells(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of a grid over the canvas whose centres are in the image."""
        return tuple(
            max(1, round(cells * side / whole))
            for cells, side, whole in zip(grid, self.size, self.canvas, strict=True)
        )

    def sample(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """A map (C, h, w) of the image at those :meth:`cells`: (C, rows, columns)."""
        rows, columns = (
            (2 * torch.arange(n, device=x.device) + 1) * whole / (cells * side) - 1
            for n, cells, side, whole in zip(
                self.cells(grid), grid, self.size, self.canvas, strict=True
            )
        )
        places = torch.stack(torch.meshgrid(rows, columns, indexing='ij'), dim=-1)
        places = places.flip(-1)[None].to(x.dtype)
        return F.grid_sample(
            x[None], places, padding_mode='border', align_corners=False
        )[0]
