"""Loading of a teacher's features that were computed beforehand."""

from __future__ import annotations

from pathlib import Path

from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ..teacher_features import (
    feature_path,
    read_features,
    read_setting,
    setting_digest,
)


@TRANSFORMS.register_module()
class LoadTeacherFeatures(BaseTransform):
    """Add ``teacher_features`` (C, h, w), float32, of the image to the sample.

    It marks the point in the pipeline at which the teacher saw the image. Transforms
    before it also run in ``tools/extract_teacher_features.py`` and must not be random;
    transforms after it may change colours, but not geometry.

    Args:
        folder: Folder that the tool wrote.

    Raises:
        JobError: The folder is not finished; a file is missing, damaged or of
            another setting.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser()
        self.setting: str | None = None

    def transform(self, results: dict) -> dict:
        """Load the features of ``results['img_path']``."""
        if self.setting is None:
            self.setting = setting_digest(read_setting(self.folder))
        path = feature_path(self.folder, results['img_path'])
        results['teacher_features'] = read_features(path, self.setting).float()
        return results
