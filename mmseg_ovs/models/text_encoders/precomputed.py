"""A text encoder without a tower: it looks names up in a file of vectors."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ovs.utils import OpenVocabError

from .base import BaseTextEncoder
from .embedding_file import load_embeddings


class UnknownNameError(OpenVocabError):
    """Names for which there is no text embedding."""


@MODELS.register_module()
class PrecomputedTextEncoder(BaseTextEncoder):
    """Reads the embeddings of class names from a safetensors file.

    The vectors may come from any tower; ``tools/encode_vocabulary.py`` and the cache
    of the other encoders write such files. They are not part of the model's
    checkpoint.

    Args:
        path: The file, see :mod:`~mmseg_ovs.models.text_encoders.embedding_file`.
        vocabulary: See :class:`BaseTextEncoder`.

    Raises:
        FileNotFoundError, EmbeddingFileError: If the file is missing or damaged.
    """

    def __init__(self, path: str | os.PathLike, vocabulary: Any = None) -> None:
        names, embeddings = load_embeddings(path)
        super().__init__()
        self.path = os.fspath(path)
        self.embed_dims = embeddings.shape[-1]
        self.register_buffer('embeddings', embeddings.float(), persistent=False)
        self._exact = {name: index for index, name in enumerate(names)}
        self._folded: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            self._folded.setdefault(_fold(name), []).append(index)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def encode_names(self, names: Sequence[str]) -> Tensor:
        """Look names up: as written, else by their only match without case and blanks.

        Returns:
            (N, D), or (N, P, D) if the file holds one vector a template.

        Raises:
            UnknownNameError: If the file lacks some of the names, which are listed.
        """
        found = [self._find(name) for name in names]
        missing = [
            name for name, index in zip(names, found, strict=True) if index is None
        ]
        if missing:
            raise UnknownNameError(
                f'{self.path} has no text embeddings for {len(missing)} of '
                f'{len(names)} names: {missing}. Encode them with '
                'tools/encode_vocabulary.py, or use a text encoder with a tower.'
            )
        return self.embeddings[torch.tensor(found, device=self.device)]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Look texts up like names."""
        return self.encode_names(texts)

    def read_names(self, names: Sequence[str]) -> Sequence[Hashable]:
        """The vector of each name in the file; the name itself if it has none."""
        found = [self._find(name) for name in names]
        vectors = self.embeddings.cpu().numpy()
        return [
            name if index is None else vectors[index].tobytes()
            for name, index in zip(names, found, strict=True)
        ]

    def _find(self, name: str) -> int | None:
        if name in self._exact:
            return self._exact[name]
        matches = self._folded.get(_fold(name), [])
        return matches[0] if len(matches) == 1 else None


def _fold(name: str) -> str:
    return name.strip().casefold()
