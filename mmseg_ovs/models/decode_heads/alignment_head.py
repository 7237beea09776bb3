"""OVS-DINO's structural alignment: the encoder's map is to resemble SAM's.

Source: OVS-DINO, section 4.1, equations 10-12.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor

from mmseg_ovs.structures import VisualFeatures

from ..utils import FrozenTeacher, PaddedFit
from .base import FeatureAuxiliaryHead

INPUT_FITS = ('stretch', 'pad')


@MODELS.register_module()
class AlignmentHead(FeatureAuxiliaryHead):
    """Auxiliary head of training: distance of a map from that of a frozen teacher.

    It has no weights. The teacher is built when the first loss is computed, is in no
    checkpoint, and costs nothing at inference. It is not built at all where samples
    carry its features, computed beforehand by ``tools/extract_teacher_features.py``.

    Args:
        teacher: Config of the teacher's backbone, weights by its ``init_cfg``.
        input_size: Size at which the teacher sees the images (bilinear); None: that
            of the training pipeline.
        input_fit: How images get there: 'stretch', whatever their aspect; or 'pad', as
            SAM was trained: in their own proportions, zeros at the right and bottom.
            The map to align is of the stretched image. Of the teacher's it meets those
            cells whose centres lie in the image.
        in_index: Which map is aligned.
        cosine_weight: Weight of equation 10.
        mse_weight: Weight of equation 11.
    """

    loss_prefix = 'align'

    def __init__(
        self,
        teacher: dict,
        input_size: tuple[int, int] | None = None,
        input_fit: str = 'stretch',
        in_index: int = 0,
        cosine_weight: float = 1.0,
        mse_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if input_fit not in INPUT_FITS:
            raise ValueError(
                f'input_fit has to be one of {INPUT_FITS}, got {input_fit!r}'
            )
        self.input_fit = input_fit
        self.teacher = FrozenTeacher(teacher, input_size)
        self.in_index = in_index
        self.cosine_weight = cosine_weight
        self.mse_weight = mse_weight

    def loss(
        self, features: VisualFeatures, data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Alignment losses.

        Args:
            features: Maps of the model, and as ``image`` the images at the size of
                the training pipeline.
            data_samples: All with ``teacher_features`` (see :meth:`teach`), or none.

        Raises:
            ValueError: Some samples lack the teacher's features, or they are of another
                shape than the map.
        """
        ours = features.maps[self.in_index]
        if any('teacher_features' in sample for sample in data_samples):
            targets, names = _stored_features(data_samples)
        else:
            targets = self.teach(features.image, data_samples)
            names = [''] * len(targets)
        wanted = list(ours)
        if self.input_fit == 'pad':
            grid = tuple(ours.shape[-2:])
            fits = self._fits(features.image, data_samples)
            wanted = [fit.sample(x, grid) for fit, x in zip(fits, ours, strict=True)]
        for x, target, name in zip(wanted, targets, names, strict=True):
            if x.shape != target.shape:
                raise ValueError(
                    f'The map to align is {_describe(x)}, that of the teacher '
                    f'{_describe(target)}{name}: they meet where the input sizes, the '
                    "patch size and the encoder's scale_factor and out_channels fit "
                    'together, and where stored features were made with the same '
                    f'input_fit ({self.input_fit!r})'
                )
        if self.input_fit == 'stretch':
            pairs = [(ours, torch.stack(list(targets)))]
        else:  # of different sizes; each image counts the same
            pairs = [(x[None], y[None]) for x, y in zip(wanted, targets, strict=True)]
        cosine, mse = torch.stack([_distances(x, y) for x, y in pairs]).mean(dim=0)
        return dict(
            loss_cosine=self.cosine_weight * cosine, loss_mse=self.mse_weight * mse
        )

    def teach(self, images: Tensor, data_samples: SampleList) -> list[Tensor]:
        """The teacher's features (C, h, w) of each image, padding left out.

        Args:
            images: Normalised images (B, 3, H, W) at the size of the training pipeline.
            data_samples: Their samples; ``input_fit='pad'`` asks for ``scale_factor``.
        """
        if self.input_fit == 'stretch':
            return list(self.teacher(images))
        fits = self._fits(images, data_samples)
        placed = [fit.place(image) for fit, image in zip(fits, images, strict=True)]
        maps = self.teacher(torch.stack(placed))
        cells = [fit.cells(tuple(maps.shape[-2:])) for fit in fits]
        return [x[:, :h, :w] for x, (h, w) in zip(maps, cells, strict=True)]

    def _fits(self, images: Tensor, data_samples: SampleList) -> list[PaddedFit]:
        canvas = tuple(self.teacher.input_size or images.shape[-2:])
        return [
            PaddedFit.of(canvas, image, sample)
            for image, sample in zip(images, data_samples, strict=True)
        ]


def _distances(ours: Tensor, target: Tensor) -> Tensor:
    """Equations 10 and 11 of maps (B, C, h, w): (2,)."""
    target = target.to(ours.dtype)
    cosine = 1 - F.cosine_similarity(ours, target, dim=1).mean()
    return torch.stack([cosine, F.mse_loss(ours, target)])


def _stored_features(data_samples: SampleList) -> tuple[list[Tensor], list[str]]:
    """Maps (C, h, w) of the samples, and words that name their images."""
    for sample in data_samples:
        if 'teacher_features' not in sample:
            raise ValueError(
                f'{sample.get("img_path", "A sample")} comes without features of the '
                'teacher, others of its batch with them: put LoadTeacherFeatures into '
                'the pipeline of every data set, or of none'
            )
    maps = [sample.teacher_features.data for sample in data_samples]
    return maps, [f' for {sample.get("img_path")}' for sample in data_samples]


def _describe(x: Tensor) -> str:
    return f'{x.shape[0]} channels of {x.shape[1]} x {x.shape[2]}'
