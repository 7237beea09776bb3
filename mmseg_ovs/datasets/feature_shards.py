"""Talk2DINO's training features on disk: float16 shards and a manifest.

A folder holds ``manifest.json`` and the shards that it lists, safetensors files of

- ``visual`` (n, heads, C): unit head embeddings of n images,
- ``text`` (m, D): raw text embeddings of their m captions,
- ``image`` (m,): which of the n images each caption belongs to.

The metadata of a shard holds ``setting``, a JSON object that says how the features were
made, and ``digest``, the SHA-256 of the tensors. The manifest is written last: a folder
without it is not finished.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mmseg_ovs.utils import OpenVocabError, replacing, tensor_file

MANIFEST = 'manifest.json'
_KEYS = ('visual', 'text', 'picture')


class FeatureFileError(OpenVocabError):
    """A shard or manifest is missing, damaged or of another setting."""


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
        image: Index (m,) of each text's image.
        setting: JSON-like facts that the features depend on.

    Raises:
        FeatureFileError: Values are not finite in half precision.
    """
    tensors = dict(
        visual=visual.detach().cpu().half().contiguous(),
        text=text.detach().cpu().half().contiguous(),
        picture=image_index.to('cpu', torch.int32).contiguous(),
    )
    for name in ('visual', 'text'):
        if not tensors[name].isfinite().all():
            raise FeatureFileError(
                f'{name} features for {path.name} are not finite in half precision; '
                'are the right weights loaded?'
            )
    metadata = dict(setting=json.dumps(setting), digest=_digest(tensors))
    with replacing(path) as temporary:
        temporary.write_bytes(tensor_file(tensors, metadata))


def open_shard(path: Path) -> safe_open:
    """Open a shard memory-mapped.

    Raises:
        FeatureFileError: It is missing, truncated or no shard.
    """
    try:
        file = safe_open(path, 'pt')
    except FileNotFoundError as error:
        raise FeatureFileError(f'the feature shard {path} is missing') from error
    except (SafetensorError, OSError) as error:
        raise FeatureFileError(
            f'the feature shard {path} is damaged or truncated: {error}'
        ) from error
    if set(file.keys()) != set(_KEYS) or 'setting' not in (file.metadata() or {}):
        raise FeatureFileError(f'{path} is not a feature shard')
    return file


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
        raise FeatureFileError(f'the feature shard {path} is damaged: digests differ')
    record = dict(
        file=path.name, visual=[*tensors['visual'].shape], text=[*tensors['text'].shape]
    )
    return shard_setting(file), record


def differing_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Names of the facts in which two settings differ."""
    keys = [k for k in {**one, **other} if one.get(k) != other.get(k)]
    return ', '.join(keys)


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
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding='utf-8')


def read_manifest(
    folder: str | os.PathLike,
    tool: str = 'tools/extract_features.py',
    keys: Sequence[str] = ('setting', 'shards'),
) -> dict[str, Any]:
    """Read the manifest of a finished folder.

    Args:
        folder: The folder.
        tool: What writes such folders, for messages.
        keys: What the manifest has to hold.

    Raises:
        FeatureFileError: It is missing or damaged.
    """
    path = Path(folder).expanduser() / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise FeatureFileError(
            f'there is no {path}: no features were extracted there, or not all yet. '
            f'Run {tool} (again, to go on)'
        ) from error
    except ValueError as error:
        raise FeatureFileError(f'{path} is damaged: {error}') from error
    if not isinstance(manifest, dict) or not set(keys) <= set(manifest):
        raise FeatureFileError(f'{path} is not a manifest of features')
    return manifest


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in _KEYS:
        digest.update(f'{key} {tuple(tensors[key].shape)}'.encode())
        digest.update(tensors[key].contiguous().numpy())
    return digest.hexdigest()
