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

from ..utils import FrozenTeacher
from .base import FeatureAuxiliaryHead


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
        in_index: Which map is aligned.
        cosine_weight: Weight of equation 10.
        mse_weight: Weight of equation 11.
    """

    loss_prefix = 'align'

    def __init__(
        self,
        teacher: dict,
        input_size: tuple[int, int] | None = None,
        in_index: int = 0,
        cosine_weight: float = 1.0,
        mse_weight: float = 1.0,
    ) -> None:
        super().__init__()
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
            data_samples: All with ``teacher_features`` (C, h, w), or none.

        Raises:
            ValueError: Some samples lack the teacher's features, or they are of another
                shape than the map.
        """
        ours = features.maps[self.in_index]
        if any('teacher_features' in sample for sample in data_samples):
            targets, names = _stored_features(data_samples)
        else:
            targets = self.teacher(features.image)
            names = [''] * len(targets)
        for target, name in zip(targets, names, strict=True):
            if ours.shape[1:] != target.shape:
                raise ValueError(
                    f'The map to align is {_describe(ours[0])}, that of the teacher '
                    f'{_describe(target)}{name}: they meet where the input sizes, the '
                    "patch size and the encoder's scale_factor and out_channels fit "
                    'together'
                )
        target = torch.stack(list(targets)).to(ours.dtype)
        cosine = 1 - F.cosine_similarity(ours, target, dim=1).mean()
        return dict(
            loss_cosine=self.cosine_weight * cosine,
            loss_mse=self.mse_weight * F.mse_loss(ours, target),
        )


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
