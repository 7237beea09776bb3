"""Text embeddings on disk: a safetensors file of names and vectors, and a cache of it.

The file holds one tensor ``embeddings``, (N, D) or (N, P, D), and its metadata holds
``names``, a JSON list of the N names. The cache writes such files and
:class:`~mmseg_ovs.models.text_encoders.PrecomputedTextEncoder` reads them.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mmseg_ovs.utils import NonFiniteError, OpenVocabError, tensor_file, write_whole


class EmbeddingFileError(OpenVocabError):
    """A file that is not a readable file of names and vectors."""


def save_embeddings(
    path: str | os.PathLike,
    names: Sequence[str],
    embeddings: Tensor,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a file of names and vectors, whole or not at all.

    Args:
        path: Where to; by convention it ends in ``.safetensors``.
        names: N different names.
        embeddings: (N, D), or (N, P, D) with one vector a template.
        metadata: More strings to keep, for instance the model and the templates.

    Raises:
        ValueError: If names and vectors do not belong together.
        NonFiniteError: If vectors are NaN or infinite; names them.
    """
    names = list(names)
    if embeddings.ndim not in (2, 3) or len(names) != len(embeddings):
        raise ValueError(
            f'{len(names)} names do not go with embeddings of shape '
            f'{tuple(embeddings.shape)}: (N, D) or (N, P, D) is needed.'
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'The name {twice!r} appears twice.')
    broken = _not_finite(names, embeddings)
    if broken:
        raise NonFiniteError(f'The embeddings of {broken[:5]} are NaN or infinite.')
    metadata = {**(metadata or {}), 'names': json.dumps(names)}
    tensors = {'embeddings': embeddings.detach().cpu().contiguous()}
    # not by save_file, whose files the owner alone can read
    write_whole(path, tensor_file(tensors, metadata))


def load_embeddings(path: str | os.PathLike) -> tuple[list[str], Tensor]:
    """Read a file of names and vectors.

    Returns:
        The N names, and the embeddings (N, D) or (N, P, D) on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        EmbeddingFileError: If it is damaged, something else or not finite.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'There is no file of text embeddings at {path}.')
    try:
        with safe_open(path, 'pt') as file:
            embeddings = file.get_tensor('embeddings')
            names = json.loads((file.metadata() or {})['names'])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise EmbeddingFileError(
            f'{path} is damaged or not a file of text embeddings (a safetensors file '
            "with the tensor 'embeddings' and the metadata 'names'): "
            f'{type(error).__name__}: {error}'
        ) from error
    if (
        embeddings.ndim not in (2, 3)
        or not isinstance(names, list)
        or len(names) != len(embeddings)
    ):
        raise EmbeddingFileError(
            f'{path} has embeddings of shape {tuple(embeddings.shape)}, which do not '
            'fit its names.'
        )
    broken = _not_finite(names, embeddings)
    if broken:
        raise EmbeddingFileError(
            f'{path} has NaN or infinite values in the embeddings of {len(broken)} of '
            f'{len(names)} names: {broken[:5]}. Encode them again.'
        )
    return names, embeddings


def _not_finite(names: Sequence[str], embeddings: Tensor) -> list[str]:
    finite = embeddings.isfinite().flatten(1).all(1).tolist()
    return [name for name, good in zip(names, finite, strict=True) if not good]


class EmbeddingCache:
    """Vectors already computed, in one file that several processes may extend.

    A damaged file is reported and treated as empty; a folder that cannot be written
    is reported and the vectors are simply not kept.

    Args:
        path: The file; made by the first :meth:`add`.
        metadata: Strings that say in the file what the vectors are.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        self.path = path
        self.metadata = metadata

    def read(self) -> dict[str, Tensor]:
        """All vectors of the file by name; (D,) or (P, D) each."""
        try:
            names, embeddings = load_embeddings(self.path)
        except FileNotFoundError:
            return {}
        except EmbeddingFileError as error:
            warnings.warn(f'{error} The embeddings are computed again.', stacklevel=2)
            return {}
        return dict(zip(names, embeddings, strict=True))

    def add(self, vectors: Mapping[str, Tensor]) -> None:
        """Put more vectors into the file, beside what other processes put there."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f'{self.path}.lock'):
                merged = {**self.read(), **vectors}
                save_embeddings(
                    self.path,
                    list(merged),
                    torch.stack([vector.cpu() for vector in merged.values()]),
                    self.metadata,
                )
        except OSError as error:
            warnings.warn(
                f'Text embeddings could not be kept in {self.path}: {error}',
                stacklevel=2,
            )
