"""Talk2DINO's training features on disk: float16 shards and a manifest.

A folder holds ``manifest.json`` and the shards that it lists, safetensors files of

- ``visual`` (n, heads, C): unit head embeddings of n images,
- ``text`` (m, D): raw text embeddings of their m captions,
- ``picture`` (m,): which of the n images each caption belongs to.

The metadata of a shard holds ``setting``, a JSON object that says how the features were
made, and ``digest``, the SHA-256 of the tensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from mmseg_ovs.jobs import sha256, write_json
from mmseg_ovs.utils import tensor_file, write_whole

from . import feature_files
from .feature_files import (
    MANIFEST,
    FeatureFileError,
    in_half_precision,
    open_features,
)

TOOL = 'tools/extract_features.py'
_KEYS = ('visual', 'text', 'picture')


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f'shard-{number:05d}.safetensors'


def write_shard(
    path: Path, visual: Tensor, text: Tensor, image_index: Tensor, setting: Mapping
) -> None:
    """Write a shard in half precision, whole or not at all.

    Args:
        path: Where to.
        visual: Head embeddings (n, heads, C), normalised.
        text: Text embeddings (m, D).
        image_index: Index (m,) of each text's image.
        setting: JSON-like facts that the features depend on.

    Raises:
        FeatureFileError: Values are not finite in half precision.
    """
    tensors = dict(
        visual=in_half_precision(visual, f'visual features for {path.name}'),
        text=in_half_precision(text, f'text features for {path.name}'),
        picture=image_index.to('cpu', torch.int32).contiguous(),
    )
    metadata = dict(setting=json.dumps(setting), digest=_digest(tensors))
    write_whole(path, tensor_file(tensors, metadata))


def open_shard(path: Path) -> safe_open:
    """Open a shard memory-mapped.

    Raises:
        FeatureFileError: It is missing, truncated or no shard.
    """
    return open_features(path, TOOL, _KEYS)


def shard_setting(file: safe_open) -> dict[str, Any]:
    """How the features of an open shard were made."""
    return json.loads(file.metadata()['setting'])


def verify_shard(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a shard whole and compare it with its digest.

    Returns:
        The setting, and the record that the manifest keeps of the shard.

    Raises:
        FeatureFileError: It is missing or damaged.
    """
    file = open_shard(path)
    tensors = {key: file.get_tensor(key) for key in _KEYS}
    if file.metadata().get('digest') != _digest(tensors):
        raise FeatureFileError(f'the features {path} are damaged: digests differ')
    record = dict(
        file=path.name, visual=[*tensors['visual'].shape], text=[*tensors['text'].shape]
    )
    return shard_setting(file), record


def write_manifest(folder: Path, setting: Mapping, shards: list[dict]) -> None:
    """Declare a folder finished.

    Args:
        folder: The folder of the shards.
        setting: JSON-like facts that the features depend on.
        shards: Their records, see :func:`verify_shard`.
    """
    content = dict(
        pictures=sum(shard['visual'][0] for shard in shards),
        captions=sum(shard['text'][0] for shard in shards),
        setting=setting,
        shards=shards,
    )
    write_json(folder / MANIFEST, content, end='')


def read_manifest(folder: str | os.PathLike) -> dict[str, Any]:
    """Read the manifest of a finished folder.

    Raises:
        JobError: It is missing or damaged.
    """
    return feature_files.read_manifest(folder, TOOL, ('setting', 'shards'))


def _digest(tensors: Mapping[str, Tensor]) -> str:
    parts: list[Any] = []
    for key in _KEYS:
        parts += [f'{key} {tuple(tensors[key].shape)}', tensors[key].numpy()]
    return sha256(*parts)
