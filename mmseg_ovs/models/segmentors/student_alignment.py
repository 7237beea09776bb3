"""Training of a neck alone: it learns to resemble a teacher over a frozen backbone."""

from __future__ import annotations

from mmengine.model import BaseModel
from mmseg.registry import MODELS
from mmseg.utils import OptSampleList, add_prefix
from torch import Tensor

from mmseg_ovs.structures import VisualFeatures

from ..utils import FrozenTeacher


@MODELS.register_module()
class StudentAlignment(BaseModel):
    """A frozen backbone, a neck that learns, and the alignment with a teacher.

    No words, no labels, no class loss. The neck is all that checkpoints hold; a
    segmentor takes it by ``init_cfg=dict(type='Pretrained', checkpoint=...,
    prefix='neck.')``.

    Args:
        backbone: Config of the backbone, weights by its ``init_cfg``; built at the
            first step.
        neck: Config of the neck, such as :class:`StructureAwareEncoder`.
        auxiliary_head: Config of an :class:`AlignmentHead`.
        input_size: Height and width at which the backbone sees the images (bilinear,
            antialiased). None: those of the training pipeline.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        auxiliary_head: dict,
        input_size: tuple[int, int] | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if isinstance(data_preprocessor, dict):
            # mmengine would look in its own registry when no default scope is set
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = FrozenTeacher(backbone, input_size)
        self.neck = MODELS.build(neck)
        self.auxiliary_head = MODELS.build(auxiliary_head)

    def forward(
        self,
        inputs: Tensor,
        data_samples: OptSampleList = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | tuple[Tensor, ...]:
        """Alignment losses of images (B, 3, H, W); in 'tensor' mode the neck's maps.

        Raises:
            ValueError: Another mode: there are no words to predict.
        """
        maps = tuple(self.neck(self.backbone.maps(inputs)))
        if mode == 'tensor':
            return maps
        if mode != 'loss':
            raise ValueError(
                f'StudentAlignment only trains a neck, it cannot {mode!r}: put the '
                'trained neck into a segmentor (init_cfg, prefix="neck.")'
            )
        head = self.auxiliary_head
        features = VisualFeatures(maps, image=inputs)
        return add_prefix(head.loss(features, data_samples or []), head.loss_prefix)
