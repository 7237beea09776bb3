"""SAM's own features in the place of those that learned to resemble them."""

from __future__ import annotations

from mmseg.registry import MODELS

from mmseg_ovs.structures import VisualFeatures

from ..utils import FrozenTeacher
from .base import FeatureNeck


@MODELS.register_module()
class TeacherFeatures(FeatureNeck):
    """Replace all maps but the last by one map of a frozen teacher (OVS-DINO, Table 4).

    Stands where :class:`StructureAwareEncoder` stood in training. It has no weights of
    its own, so checkpoints need ``CheckpointGuardHook(allow=[r'^neck\\.0\\.'])``.

    Args:
        teacher: Config of the teacher's backbone, weights by its ``init_cfg``.
        input_size: Size at which the teacher sees the window.
    """

    def __init__(self, teacher: dict, input_size: tuple[int, int] | None) -> None:
        super().__init__()
        self.teacher = FrozenTeacher(teacher, input_size)

    def forward(self, features: VisualFeatures) -> VisualFeatures:
        """Maps become the teacher's map and the last of the backbone."""
        structure = self.teacher(features.image)
        return features._replace(maps=(structure, features.maps[-1]))
