"""What every text encoder does: keep a vocabulary and give the vectors of its rows."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...structures import Vocabulary
from ..utils import PretrainedModule


class BaseTextEncoder(PretrainedModule, metaclass=ABCMeta):
    """A module that is called without arguments and returns text embeddings.

    Subclasses set ``embed_dims`` and say how names and free texts become vectors.

    Args:
        vocabulary: The first vocabulary, anything :meth:`Vocabulary.build` takes; it
            can be changed between any two calls.
        init_cfg: Initialisation; ``dict(type='Pretrained', checkpoint=...)`` loads
            strictly.
    """

    embed_dims: int

    def __init__(self, vocabulary: Any = None, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.vocabulary: Vocabulary | None = None
        self._kept: Tensor | None = None  # embeddings of the vocabulary, if constant
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    @abstractmethod
    def encode_names(self, names: Sequence[str]) -> Tensor:
        """Embed class names, with templates if there are any: (N, D) or (N, P, D)."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embed texts as they stand, for instance captions: (N, D)."""

    def set_vocabulary(self, vocabulary: Any) -> None:
        """Set the vocabulary of the next calls; :meth:`Vocabulary.build` reads it."""
        vocabulary = Vocabulary.build(vocabulary)
        if vocabulary != self.vocabulary:
            self.vocabulary = vocabulary
            self._kept = None

    @property
    def trainable(self) -> bool:
        """Whether a parameter asks for a gradient."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def forward(self) -> Tensor:
        """Embeddings of the vocabulary's rows.

        They are computed once and kept, except while a trainable encoder is in
        training mode, when they are computed at every call and carry a gradient.

        Returns:
            (R, D) in the order of ``vocabulary.rows``; (R, P, D) if the encoder keeps
            its P templates apart.

        Raises:
            RuntimeError: If no vocabulary has been set.
        """
        if self.vocabulary is None:
            raise RuntimeError(
                f'{type(self).__name__} has no vocabulary yet: call set_vocabulary() '
                'or give the vocabulary in the config.'
            )
        if self.training and self.trainable:
            return self.encode_names(self.vocabulary.rows)
        if self._kept is None:
            # Kept tensors outlive the caller's inference mode and autocast.
            device = self.device.type
            with (
                torch.inference_mode(False),
                torch.no_grad(),
                torch.autocast(device, enabled=False),
            ):
                self._kept = self.encode_names(self.vocabulary.rows)
        self._kept = self._kept.to(self.device)
        return self._kept

    @property
    def device(self) -> torch.device:
        """Where the weights (or the vectors) lie."""
        for tensors in (self.parameters(), self.buffers()):
            for tensor in tensors:
                return tensor.device
        return torch.device('cpu') if self._kept is None else self._kept.device

    def weights_changed(self) -> None:
        """Forget everything that was computed from the weights."""
        self._kept = None

    def train(self, mode: bool = True) -> BaseTextEncoder:
        """Switch the mode; a trainable encoder then computes anew."""
        super().train(mode)
        if self.trainable:
            self.weights_changed()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.weights_changed()
