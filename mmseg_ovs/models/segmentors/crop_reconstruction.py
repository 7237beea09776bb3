"""Training of AnyUp alone: upsampled features are to equal those of enlarged crops.

Source: Wimmer et al., "AnyUp" (arXiv 2510.12764), wimmerth/anyup; here without its
regularisation by augmented images and by downsampling.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from mmseg.utils import OptSampleList
from torch import Tensor

from ..utils import FrozenTeacher


@MODELS.register_module()
class CropReconstruction(BaseModel):
    """A frozen backbone and an upsampler that learns, without words or labels.

    The backbone sees the image and a crop of it that is enlarged to the image's size.
    The upsampler makes of the first what the second shows. It is all that checkpoints
    hold; a segmentor takes it by ``init_cfg=dict(type='Pretrained', checkpoint=...,
    prefix='neck.')``.

    Args:
        backbone: Config of the backbone, weights by its ``init_cfg``; built at the
            first step. Its last map is upsampled.
        neck: Config of :class:`AnyUp`.
        scale: Side of the image to that of the crop.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        scale: int = 2,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if isinstance(data_preprocessor, dict):
            # mmengine would look in its own registry when no default scope is set
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor, init_cfg)
        if scale < 2:
            raise ValueError(f'scale has to be at least 2, got {scale}')
        self.backbone = FrozenTeacher(backbone)
        self.neck = MODELS.build(neck)
        self.scale = scale

    def forward(
        self,
        inputs: Tensor,
        data_samples: OptSampleList = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | Tensor:
        """Losses of images (B, 3, H, W); in 'tensor' mode the upsampled map.

        Raises:
            ValueError: Another mode, or sides that the cells do not divide.
        """
        if mode not in ('tensor', 'loss'):
            raise ValueError(
                f'CropReconstruction only trains a neck, it cannot {mode!r}: put the '
                'trained neck into a segmentor (init_cfg, prefix="neck.")'
            )
        low = self.backbone.maps(inputs)[-1]
        grid = low.shape[-2:]
        size = tuple(self.scale * side for side in grid)
        up = self.neck.upsample(inputs, low, size)
        if mode == 'tensor':
            return up
        window, pixels = [], []
        for side, fine, cells in zip(inputs.shape[-2:], size, grid, strict=True):
            pixel, rest = divmod(side, fine)
            if rest:
                raise ValueError(
                    f'Images of {tuple(inputs.shape[-2:])} are no multiple of the '
                    f'{size} cells of {self.scale} times the feature map: change size '
                    'or scale'
                )
            start = int(torch.randint(fine - cells + 1, ()))
            window.append(slice(start, start + cells))
            pixels.append(slice(start * pixel, (start + cells) * pixel))
        crop = F.interpolate(inputs[(..., *pixels)], inputs.shape[-2:], mode='bilinear')
        target = self.backbone.maps(crop)[-1]
        up = up[(..., *window)]
        cosine = 1 - F.cosine_similarity(up, target, dim=1).mean()
        return dict(loss_cosine=cosine, loss_mse=F.mse_loss(up, target))
