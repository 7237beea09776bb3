"""What every text encoder does: give the vectors of a vocabulary's rows."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import NonFiniteError

from ..utils import PretrainedModule
from .kept_embeddings import KeptEmbeddings
from .name_check import warn_of_equal_names


class BaseTextEncoder(PretrainedModule, metaclass=ABCMeta):
    """A module that is called with a vocabulary and returns its text embeddings.

    Called without arguments, as mmseg's SAN does, it uses its default vocabulary.
    Subclasses set ``embed_dims`` and say how names and free texts become vectors.

    Args:
        vocabulary: The default vocabulary, anything :meth:`Vocabulary.build` takes.
        init_cfg: Initialisation; ``dict(type='Pretrained', checkpoint=...)`` loads
            strictly.
    """

    embed_dims: int

    def __init__(self, vocabulary: Any = None, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.vocabulary: Vocabulary | None = None
        self._kept = KeptEmbeddings()
        self._checked: set[int] = set()  # hashes of vocabularies
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    @abstractmethod
    def encode_names(self, names: Sequence[str]) -> Tensor:
        """Embed class names, with templates if there are any: (N, D) or (N, P, D)."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embed texts as they are, for instance captions: (N, D)."""

    def read_names(self, names: Sequence[str]) -> Sequence[Hashable]:
        """What the encoder reads of each name: equal values give equal embeddings."""
        return names

    def _check_names(self, vocabulary: Vocabulary) -> None:
        """Warn, once for a vocabulary, of names that cannot be told apart."""
        if hash(vocabulary) not in self._checked:
            self._checked.add(hash(vocabulary))
            warn_of_equal_names(vocabulary, self.read_names(vocabulary.rows))

    def set_vocabulary(self, vocabulary: Any) -> None:
        """Set the default vocabulary, anything :meth:`Vocabulary.build` takes."""
        self.vocabulary = Vocabulary.build(vocabulary)

    @property
    def trainable(self) -> bool:
        """Whether a parameter asks for a gradient."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def forward(self, vocabulary: Vocabulary | None = None) -> Tensor:
        """Embeddings of a vocabulary's rows.

        They are computed once and kept, except while a trainable encoder is in
        training mode, when they are computed at every call and carry a gradient.

        Args:
            vocabulary: The vocabulary. None: the default.

        Returns:
            (R, D) in the order of ``vocabulary.rows``; (R, P, D) if the encoder keeps
            its P templates apart.

        Raises:
            RuntimeError: If there is no vocabulary.
        """
        if vocabulary is None:
            vocabulary = self.vocabulary
        if vocabulary is None:
            raise RuntimeError(
                f'{type(self).__name__} has no vocabulary yet: call set_vocabulary() '
                'or give the vocabulary in the config.'
            )
        self._check_names(vocabulary)
        if self.training and self.trainable:
            return self.encode_names(vocabulary.rows)
        return self._kept.get(vocabulary.rows, self._encode_to_keep, self.device)

    def _encode_to_keep(self, rows: Sequence[str]) -> Tensor:
        """Embeddings that outlive the caller's inference mode and autocast.

        Raises:
            NonFiniteError: Some are NaN or infinite; names the rows.
        """
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast(self.device.type, enabled=False),
        ):
            embeddings = self.encode_names(rows)
        finite = embeddings.isfinite().flatten(1).all(1).tolist()
        broken = [row for row, good in zip(rows, finite, strict=True) if not good]
        if broken:
            raise NonFiniteError(
                f'the text embeddings of {len(broken)} of {len(rows)} names are NaN or '
                f'infinite: {broken[:5]}. Are the weights of the text encoder damaged?'
            )
        return embeddings

    @property
    def device(self) -> torch.device:
        """Where the weights (or the vectors) are."""
        for tensors in (self.parameters(), self.buffers()):
            for tensor in tensors:
                return tensor.device
        return self._kept.device

    def weights_changed(self) -> None:
        """Forget everything that was computed from the weights."""
        self._kept.clear()

    def train(self, mode: bool = True) -> BaseTextEncoder:
        """Switch the mode; a trainable encoder forgets its embeddings."""
        super().train(mode)
        if self.trainable:
            self.weights_changed()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.weights_changed()
