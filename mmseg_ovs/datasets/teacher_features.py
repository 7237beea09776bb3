"""Features of a frozen teacher on disk: one float16 file per image, and a manifest.

A folder holds ``IMAGE.safetensors`` for each image (``features`` (C, h, w), the
digest of the tensor and of how it was made) and ``manifest.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mmseg_ovs.jobs import require_same, sha256, write_json
from mmseg_ovs.utils import tensor_file, write_whole

from .feature_files import (
    MANIFEST,
    FeatureFileError,
    in_half_precision,
    open_features,
    read_manifest,
)

TOOL = 'tools/extract_teacher_features.py'


def feature_path(folder: Path, img_path: str | Path) -> Path:
    """The file of an image's features."""
    return folder / f'{Path(img_path).name}.safetensors'


def setting_digest(setting: Mapping[str, Any]) -> str:
    """Digest of the JSON-like facts that features depend on."""
    return sha256(json.dumps(setting, sort_keys=True))


def write_features(path: Path, features: Tensor, setting: str) -> None:
    """Write one image's features in half precision, whole or not at all.

    Args:
        path: Where to.
        features: (C, h, w).
        setting: Digest of how they were made.

    Raises:
        FeatureFileError: They are not finite in half precision.
    """
    features = in_half_precision(features, f"the teacher's features for {path.name}")
    metadata = dict(setting=setting, digest=_digest(features))
    write_whole(path, tensor_file(dict(features=features), metadata))


def read_features(path: Path, setting: str) -> Tensor:
    """Read one image's features (C, h, w), float16.

    Args:
        path: The file.
        setting: Digest of how they have to have been made.

    Raises:
        FeatureFileError: It is missing or damaged.
        JobError: It was made in another setting.
    """
    file = open_features(path, TOOL, ['features'])
    metadata, features = file.metadata(), file.get_tensor('features')
    require_same(
        path,
        dict(setting=metadata['setting']),
        dict(setting=setting),
        f'Delete it or its folder and run {TOOL} again, or give another folder',
    )
    if metadata.get('digest') != _digest(features):
        raise FeatureFileError(
            f'the features {path} are damaged, digests differ: run {TOOL} again'
        )
    return features


def write_manifest(folder: Path, setting: Mapping[str, Any], images: int) -> None:
    """Declare a folder finished."""
    write_json(folder / MANIFEST, dict(pictures=images, setting=setting), end='')


def read_setting(folder: Path) -> dict[str, Any]:
    """How the features of a finished folder were made.

    Raises:
        JobError: There is no manifest, or it is damaged.
    """
    return read_manifest(folder, TOOL, ('setting', 'pictures'))['setting']


def _digest(features: Tensor) -> str:
    return sha256(str(tuple(features.shape)), features.numpy())
