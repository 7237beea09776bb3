"""Features of frozen networks on disk: float16 safetensors files and a manifest.

The manifest is written last: a folder without it is not finished.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from mmseg_ovs.jobs import JobError, read_json

MANIFEST = 'manifest.json'


class FeatureFileError(JobError):
    """A file of features or a manifest is missing, damaged or of another setting."""


def in_half_precision(features: Tensor, what: str) -> Tensor:
    """Features as they are kept.

    Raises:
        FeatureFileError: They are not finite in half precision.
    """
    features = features.detach().cpu().half().contiguous()
    if not features.isfinite().all():
        raise FeatureFileError(
            f'{what} are not finite in half precision; are the right weights loaded?'
        )
    return features


def open_features(path: Path, tool: str, keys: Collection[str]) -> safe_open:
    """Open a file of features memory-mapped.

    Args:
        path: The file.
        tool: What writes such files, for messages.
        keys: Names of its tensors.

    Raises:
        FeatureFileError: It is missing, truncated or no such file.
    """
    try:
        file = safe_open(path, 'pt')
    except FileNotFoundError as error:
        raise FeatureFileError(
            f'the features {path} are missing: run {tool} again'
        ) from error
    except (SafetensorError, OSError) as error:
        raise FeatureFileError(
            f'the features {path} are damaged or truncated ({error}): run {tool} again'
        ) from error
    if set(file.keys()) != set(keys) or 'setting' not in (file.metadata() or {}):
        raise FeatureFileError(f'{path} is not a file that {tool} has written')
    return file


def read_manifest(
    folder: str | os.PathLike, tool: str, keys: Collection[str]
) -> dict[str, Any]:
    """Read the manifest of a finished folder.

    Args:
        folder: The folder.
        tool: What writes such folders, for messages.
        keys: What the manifest has to hold.

    Raises:
        JobError: It is missing or damaged.
    """
    path = Path(folder).expanduser() / MANIFEST
    manifest = read_json(path, keys)
    if manifest is None:
        raise FeatureFileError(
            f'there is no {path}: no features were extracted there, or not all yet. '
            f'Run {tool} (again, to go on)'
        )
    return manifest
