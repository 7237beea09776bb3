"""Text encoders that own a tower: prompts, batches without padding, averages, cache."""

from __future__ import annotations

import json
import os
import sys
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import is_main_process
from mmengine.utils import ProgressBar
from torch import Tensor, nn

from mmseg_ovs.jobs import sha256
from mmseg_ovs.structures import Vocabulary

from ..utils import Trainable, set_trainable, weights_digest
from .base import BaseTextEncoder
from .embedding_file import EmbeddingCache
from .name_check import warn_of_truncated_names
from .shared_prefix import after_prefix, common_prefix
from .templates import fill_templates, get_templates

# Prompts are encoded, averaged and cached in groups, so that neither memory nor what an
# interruption costs grows with the vocabulary.
_GROUP_PROMPTS = 16384
# With fewer names the batches of single templates are small.
_MANY_NAMES = 16
# A batch of fewer texts takes nearly as long as one of so many.
_FEWEST_TEXTS = 32
# Fewer shared tokens are computed as soon as they are looked up.
_FEWEST_SHARED = 3
_PROGRESS_PROMPTS = 1000  # below it, a progress bar is only noise
# Texts whose tokens tell tokenizers apart: case, accents, digits, entities, length.
_PROBES = ['', 'A photo', 'é &amp; ß_x 12 3rd', 'word ' * 200]


class TextTower(nn.Module, metaclass=ABCMeta):
    """From tokens to one vector a text.

    Attributes:
        description: JSON-like facts that weights alone do not show (activation, heads,
            pooling); part of the key under which embeddings are cached.
        shares: Whether what texts begin with can be computed once for all of them: the
            attention layers are all :class:`SharesPrefix`.
    """

    description: Any = None
    shares = False
    _shared = 0

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """Embed padded tokens (n, context length): (n, D)."""

    def used_lengths(self, tokens: Tensor) -> Tensor:
        """How many leading tokens of each text reach its embedding, LongTensor (n,).

        All of them, unless a subclass knows that its tower is causal and pooled at the
        end of the text: what follows (the padding) is then never read.
        """
        return torch.full((tokens.shape[0],), tokens.shape[1])

    def embed(self, tokens: Tensor) -> Tensor:
        """As :meth:`forward`, but for tokens cut at the longest used length: (n, D)."""
        return self._embed_at(tokens[:, self._shared :], self._shared)

    def _embed_at(self, tokens: Tensor, start: int) -> Tensor:
        """Embed tokens (n, length) whose first has the place ``start``: (n, D)."""
        return self(tokens)

    @contextmanager
    def beginning_alike(self, tokens: Tensor, lengths: Tensor) -> Iterator[None]:
        """Compute once what texts share that :meth:`embed` gets inside, in any batches.

        Args:
            tokens: (n, context length).
            lengths: Of :meth:`used_lengths`.

        Raises:
            RuntimeError: Other texts are inside already, perhaps in another thread.
        """
        if self._shared:
            raise RuntimeError(
                'The text tower is in use for other texts: in several threads, encode '
                'names through the text encoder with set_vocabulary() or a vocabulary'
            )
        shared = 0
        if self.shares and len(tokens) > 1 and not torch.is_grad_enabled():
            shared = common_prefix(tokens, lengths)
        if shared < _FEWEST_SHARED:
            yield
            return
        with after_prefix(self, lambda: self._embed_at(tokens[:1, :shared], 0)):
            self._shared = shared
            try:
                yield
            finally:
                self._shared = 0


def batch_sizes(lengths: Sequence[int], most_tokens: int) -> list[int]:
    """Divide texts, sorted by length, into batches with hardly any padding.

    A batch of 32 or more ends where the length changes.

    Args:
        lengths: Tokens of each text, in rising order.
        most_tokens: Of a batch, with its padding; a single text may have more.

    Returns:
        Numbers of texts.
    """
    sizes = []
    for length, before in zip(lengths, [0, *lengths], strict=False):
        full = sizes and (sizes[-1] + 1) * length > most_tokens
        if not sizes or full or (length != before and sizes[-1] >= _FEWEST_TEXTS):
            sizes.append(0)
        sizes[-1] += 1
    return sizes


def length_to_highest_id(tokens: Tensor) -> Tensor:
    """Number of tokens up to the highest id of each text: CLIP's end of text.

    Args:
        tokens: (n, length), padded with zeros.

    Returns:
        LongTensor (n,).
    """
    return tokens.argmax(dim=-1) + 1


class TowerTextEncoder(BaseTextEncoder):
    """Encodes the prompts of class names with a text tower.

    Prompts are sorted by length, and a batch is only as long as its longest prompt: for
    CLIP's tower that is exact and many times faster.

    Args:
        tower: The tower.
        tokenizer: Maps a list of n strings to tokens (n, context length).
        embed_dims: Width D of an embedding.
        templates: A named set of prompts (see
            :data:`~mmseg_ovs.models.text_encoders.templates.TEMPLATE_SETS`) or a list.
        template_average: What becomes of the P embeddings of a name: ``'normalized'``
            takes unit vectors, their mean, and the unit vector of that (CLIP's
            zero-shot classifier); ``'raw'`` takes the mean of the vectors as they are
            (Talk2DINO); ``'none'`` keeps them apart and as they are (CAT-Seg), so
            that the encoder returns (R, P, D); ``'synonyms'`` takes unit vectors, the
            unit vector of their mean over the synonyms of a class in each template, and
            the unit vector of the mean of these (PixelCLIP): all rows of a class get
            the same vector.
        trainable: What is trained, see :func:`set_trainable`. False, the default: the
            tower is frozen and always in evaluation mode.
        chunk_size: Prompts of full length that go through the tower at a time; of
            shorter ones, as many as have no more tokens.
        cache_dir: Folder where the embeddings of a frozen tower are kept between
            runs; None (the default) switches that off. A file there is keyed by
            weights, tokenizer, templates and average, and several processes may use it.
        vocabulary, init_cfg: See :class:`BaseTextEncoder`.

    Raises:
        ValueError: If an argument is not one of its values.
    """

    AVERAGES = ('normalized', 'raw', 'none', 'synonyms')

    def __init__(
        self,
        tower: TextTower,
        tokenizer: Callable[[list[str]], Tensor],
        embed_dims: int,
        templates: str | Sequence[str] = 'imagenet',
        template_average: str = 'normalized',
        trainable: Trainable = False,
        chunk_size: int = 32,
        cache_dir: str | os.PathLike | None = None,
        vocabulary: Any = None,
        init_cfg: Any = None,
    ) -> None:
        if template_average not in self.AVERAGES:
            raise ValueError(
                f'template_average must be one of {self.AVERAGES}, not '
                f'{template_average!r}.'
            )
        if chunk_size < 1:
            raise ValueError(f'chunk_size must be at least 1, not {chunk_size}.')
        super().__init__(vocabulary, init_cfg)
        self.tower = tower
        self.tokenizer = tokenizer
        self.embed_dims = embed_dims
        self.templates = get_templates(templates)
        self.template_average = template_average
        self.chunk_size = chunk_size
        self.cache_dir = None if cache_dir is None else Path(cache_dir).expanduser()
        self._cache: EmbeddingCache | None = None
        set_trainable(self, trainable)
        self.train(self.training)

    def train(self, mode: bool = True) -> TowerTextEncoder:
        """Switch the mode; a frozen tower stays in eval mode."""
        super().train(mode)
        if not self.trainable and self.tower is not None:
            self.tower.eval()
        return self

    def forward(self, vocabulary: Vocabulary | None = None) -> Tensor:
        """See :class:`BaseTextEncoder`."""
        vectors = super().forward(vocabulary)
        if self.template_average != 'synonyms':
            return vectors
        vocabulary = self.vocabulary if vocabulary is None else vocabulary
        return _class_means(vectors, vocabulary.row_to_class.to(vectors.device))

    def weights_changed(self) -> None:
        """Forget everything that was computed from the weights."""
        super().weights_changed()
        self._cache = None

    def drop_tower(self, vocabulary: Vocabulary | None = None) -> None:
        """Encode a vocabulary, by default the default one, and free the tower's memory.

        From then on the encoder gives the embeddings it has kept and no others.
        """
        if self.tower is not None:
            self.eval()(vocabulary)
            self.tower = None

    def _require_tower(self) -> None:
        if self.tower is None:
            raise RuntimeError(
                'The text tower was dropped when the vocabulary had been encoded '
                '(drop_tower()): build the model again for other words, or keep the '
                "tower with dict(type='AccelerationHook', drop_text_tower=False)."
            )

    def read_names(self, names: Sequence[str]) -> Sequence[Hashable]:
        """The tokens of each name; warns of names that are cut off."""
        if self.tower is None:  # nothing new will be encoded
            return names
        order = sorted(self.templates, key=lambda template: template.index('{}'))
        # Names that are equal behind the shortest beginning are so behind the others;
        # behind the longest one most of a name is cut off.
        tokens = self.tokenizer(fill_templates(order[:1], names))
        cut = [name for name in names if self._is_cut(name, order[-1], tokens.shape[1])]
        if cut:
            warn_of_truncated_names(cut, tokens.shape[1])
        return [row.numpy().tobytes() for row in tokens]

    def _is_cut(self, name: str, template: str, length: int) -> bool:
        """Whether the end of a name in a template changes no token."""
        prompts = fill_templates([template], [name, name.rstrip()[:-1]])
        # A token takes at least one byte, so most prompts cannot be too long.
        if len(prompts[0].encode()) + 2 < length:
            return False
        return torch.equal(*self.tokenizer(prompts))

    def encode_names(self, names: Sequence[str]) -> Tensor:
        """Embed class names through the templates.

        Returns:
            (N, D), or (N, P, D) with ``template_average`` 'none' and 'synonyms'. Names
            that the cache holds are not computed; those that it lacks are added to it.
        """
        self._require_tower()
        cache = self._open_cache()
        known = {} if cache is None else cache.read()
        todo = [name for name in dict.fromkeys(names) if name not in known]
        group_size = max(1, _GROUP_PROMPTS // len(self.templates))
        bar = _progress_bar(len(todo) * len(self.templates))
        for start in range(0, len(todo), group_size):
            group = todo[start : start + group_size]
            vectors = self._encode_group(group, bar)
            new = dict(zip(group, vectors, strict=True))
            if cache is not None:
                cache.add(new)
            known.update(new)
        if bar is not None:
            bar.file.write('\n')
        return torch.stack([known[name].to(self.device) for name in names])

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embed texts as they are, neither averaged nor normalised: (N, D).

        A frozen tower computes without a gradient.
        """
        self._require_tower()
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.trainable):
            return self._encode_prompts(list(texts), None)

    def _encode_group(self, names: Sequence[str], bar: ProgressBar | None) -> Tensor:
        prompts = fill_templates(self.templates, names)
        template = torch.arange(len(prompts)) % len(self.templates)
        vectors = self._encode_prompts(prompts, bar, template)
        vectors = vectors.unflatten(0, (len(names), len(self.templates)))
        if self.template_average in ('none', 'synonyms'):
            return vectors
        if self.template_average == 'raw':
            return vectors.mean(dim=1)
        return F.normalize(F.normalize(vectors, dim=-1).mean(dim=1), dim=-1)

    def _encode_prompts(
        self,
        prompts: list[str],
        bar: ProgressBar | None,
        template: Tensor | None = None,
    ) -> Tensor:
        """(n, D), in the order of the prompts; those of a template (n,) together."""
        if not prompts:
            raise ValueError('There is no text to encode.')
        tokens = self.tokenizer(prompts)
        lengths = self.tower.used_lengths(tokens)
        order = lengths.argsort(stable=True)
        groups = [order]
        # Prompts of a template begin alike, which a tower may make use of.
        if template is not None and len(prompts) >= _MANY_NAMES * (template.max() + 1):
            order = order[template[order].argsort(stable=True)]
            groups = order.split(template.bincount().tolist())
        parts, most_tokens = [], self.chunk_size * tokens.shape[1]
        for group in groups:
            alike, used = tokens[group].to(self.device), lengths[group]
            sizes = batch_sizes(used.tolist(), most_tokens)
            with self.tower.beginning_alike(alike, used):
                batches = zip(alike.split(sizes), used.split(sizes), strict=True)
                for batch, own in batches:
                    parts.append(self.tower.embed(batch[:, : int(own[-1])]))
                    if bar is not None:
                        bar.update(len(batch))
        return torch.cat(parts)[order.argsort().to(self.device)]

    def _open_cache(self) -> EmbeddingCache | None:
        if self.cache_dir is None or self.trainable:
            return None
        if self._cache is None:
            metadata = {
                'tower': json.dumps(self.tower.description, sort_keys=True),
                'weights': weights_digest(self.tower),
                'tokenizer': sha256(self.tokenizer(_PROBES).numpy().tobytes()),
                'templates': json.dumps(self.templates),
                'template_average': self.template_average,
            }
            key = sha256(json.dumps(metadata, sort_keys=True))[:32]
            path = self.cache_dir / f'text-{key}.safetensors'
            self._cache = EmbeddingCache(path, metadata)
        return self._cache


def _class_means(vectors: Tensor, row_to_class: Tensor) -> Tensor:
    """Vectors (R, P, D) of rows and templates to those of their classes, (R, D)."""
    _, group, counts = row_to_class.unique_consecutive(
        return_inverse=True, return_counts=True
    )
    sums = vectors.new_zeros(len(counts), *vectors.shape[1:])
    sums = sums.index_add(0, group, F.normalize(vectors, dim=-1))
    means = F.normalize(sums / counts[:, None, None], dim=-1)
    return F.normalize(means.mean(dim=1), dim=-1)[group]


def _progress_bar(prompts: int) -> ProgressBar | None:
    if prompts < _PROGRESS_PROMPTS or not is_main_process():
        return None
    return ProgressBar(prompts, file=sys.stderr)
