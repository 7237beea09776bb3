"""Features of a frozen teacher on disk: one float16 file an image, and a manifest.

A folder holds ``IMAGE.safetensors`` for each image (``features`` (C, h, w), the
digest of the tensor and of how it was made) and ``manifest.json``, written last: a
folder without it is not finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mmseg_ovs.utils import replacing, tensor_file

from .feature_shards import MANIFEST, FeatureFileError, read_manifest

TOOL = 'tools/extract_teacher_features.py'


def feature_path(folder: Path, img_path: str | Path) -> Path:
    """Where the features of an image lie."""
    return folder / f'{Path(img_path).name}.safetensors'


def setting_digest(setting: Mapping[str, Any]) -> str:
    """Digest of the JSON-like facts that features depend on."""
    return hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()


def write_features(path: Path, features: Tensor, setting: str) -> None:
    """Write one image's features in half precision, whole or not at all.

    Args:
        path: Where to.
        features: (C, h, w).
        setting: Digest of how they were made.

    Raises:
        FeatureFileError: They are not finite in half precision.
    """
    features = features.detach().cpu().half().contiguous()
    if not features.isfinite().all():
        raise FeatureFileError(
            f"the teacher's features for {path.name} are not finite in half precision; "
            'are the right weights loaded?'
        )
    metadata = dict(setting=setting, digest=_digest(features))
    with replacing(path) as temporary:
        temporary.write_bytes(tensor_file(dict(features=features), metadata))


def read_features(path: Path, setting: str) -> Tensor:
    """Read one image's features (C, h, w), float16.

    Args:
        path: The file.
        setting: Digest of how they have to have been made.

    Raises:
        FeatureFileError: It is missing, damaged, or was made in another setting.
    """
    try:
        with safe_open(path, 'pt') as file:
            metadata = file.metadata() or {}
            features = file.get_tensor('features')
    except FileNotFoundError as error:
        raise FeatureFileError(
            f'the features {path} are missing: run {TOOL} again, it makes what is not '
            'there'
        ) from error
    except (SafetensorError, OSError) as error:
        raise FeatureFileError(
            f'the features {path} are damaged or truncated ({error}): run {TOOL} again'
        ) from error
    if metadata.get('setting') != setting:
        raise FeatureFileError(
            f'the features {path} were made in another setting than those of its '
            f'folder: delete it and run {TOOL} again'
        )
    if metadata.get('digest') != _digest(features):
        raise FeatureFileError(
            f'the features {path} are damaged, digests differ: run {TOOL} again'
        )
    return features


def write_manifest(folder: Path, setting: Mapping[str, Any], images: int) -> None:
    """Declare a folder finished."""
    content = dict(pictures=images, setting=setting)
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding='utf-8')


def read_setting(folder: Path) -> dict[str, Any]:
    """How the features of a finished folder were made.

    Raises:
        FeatureFileError: There is no manifest, or it is damaged.
    """
    return read_manifest(folder, TOOL, ('setting', 'pictures'))['setting']


def _digest(features: Tensor) -> str:
    digest = hashlib.sha256(str(tuple(features.shape)).encode())
    digest.update(features.view(torch.uint8).numpy())
    return digest.hexdigest()
