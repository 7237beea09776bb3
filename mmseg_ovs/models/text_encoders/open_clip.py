"""Text towers of open_clip: CLIP by OpenAI and the OpenCLIP family, or a small own one.

Only open_clip's public functions, classes and attribute names are used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.func import functional_call

from ..utils import (
    CheckpointError,
    Trainable,
    is_self_contained,
    join_projections,
    named_config,
    pretrained_clip,
)
from .shared_prefix import only_ends, use_prefix_attention
from .tower import TextTower, TowerTextEncoder, length_to_highest_id

# Built in place of the vision tower and dropped at once.
_NO_VISION = dict(image_size=1, patch_size=1, width=8, head_width=8, layers=1)
_DROPPED = ('visual', 'text_decoder', 'logit_scale', 'logit_bias')
# Numbers that OpenAI's state dicts also hold.
_UNUSED = {*_DROPPED, 'input_resolution', 'context_length', 'vocab_size'}


class OpenCLIPTextTower(TextTower):
    """The text side of an open_clip model, which also runs on tokens cut short.

    Args:
        clip: An open_clip model; what its ``encode_text`` does not need is dropped.
        description: See :class:`TextTower`.

    Attributes:
        trims: Whether cutting off the padding leaves embeddings as they are: attention
            looks back only, and the embedding is taken at the end of the text.
        pool: Where the embedding is taken, as open_clip calls it: 'argmax' is the
            highest id.
    """

    def __init__(self, clip: nn.Module, description: Any = None) -> None:
        super().__init__()
        for name in _DROPPED:
            if hasattr(clip, name):
                delattr(clip, name)
        self.clip = clip
        self.description = description
        # CLIP has the parts of the tower itself, CustomTextCLIP and CoCa in .text.
        if hasattr(clip, 'text'):
            text, self._prefix, names = clip.text, 'clip.text.', ('pool_type', 'eos_id')
        else:
            text, self._prefix = clip, 'clip.'
            names = ('text_pool_type', 'text_eos_id')
        self.pool, self._eos_id = (getattr(text, name, None) for name in names)
        self.trims = (
            self.pool in ('argmax', 'eos')
            and _is_causal(getattr(text, 'attn_mask', None))
            # CoCa's class token comes after the padding.
            and getattr(text, 'cls_emb', None) is None
        )
        self._could_share = self.trims and use_prefix_attention(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """open_clip's own ``encode_text``, not normalised."""
        return self.clip.encode_text(tokens, normalize=False)

    def used_lengths(self, tokens: Tensor) -> Tensor:
        """Number of tokens up to the end of each text, LongTensor (n,)."""
        if not self.trims:
            return super().used_lengths(tokens)
        if self.pool == 'eos':
            tokens = (tokens == self._eos_id).int()
        return length_to_highest_id(tokens)

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed tokens (n, length) with tables of that length: (n, D)."""
        if not self.trims:
            return self(tokens)
        if self._is_sharded():
            missing = len(self._position_table()) - tokens.shape[1]
            return self(F.pad(tokens, (0, missing)))
        if torch.is_grad_enabled():
            return self._embed_at(tokens, 0)
        tokens = tokens[:, self._shared :]
        with only_ends(self, self.used_lengths(tokens) - 1):
            return self._embed_at(tokens, self._shared)

    @property
    def shares(self) -> bool:
        """See :class:`TextTower`."""
        return self._could_share and not self._is_sharded()

    def _position_table(self) -> Tensor:
        return attrgetter(f'{self._prefix}positional_embedding')(self)

    def _is_sharded(self) -> bool:
        """FSDP has put plain tensors there, which functional_call leaves in place."""
        return not isinstance(self._position_table(), nn.Parameter)

    def token_table(self) -> Tensor:
        """The vectors of the tokens (V, C)."""
        return self.get_parameter(f'{self._prefix}token_embedding.weight')

    def embed_behind(self, context: Tensor, tokens: Tensor, chunk_size: int) -> Tensor:
        """Embed texts with vectors between their start and their first token.

        Args:
            context: (k, C).
            tokens: (n, context length - k).
            chunk_size: Texts that go through the tower at a time.

        Returns:
            (n, D), if ``pool`` is 'argmax'.
        """
        count = len(context)
        # The context takes the lowest ids, which keeps the end of text the highest.
        ids = torch.arange(count, device=tokens.device).expand(len(tokens), -1)
        ids = torch.cat([tokens[:, :1] + count, ids, tokens[:, 1:] + count], dim=1)
        name = f'{self._prefix}token_embedding.weight'
        table = torch.cat([context, self.token_table()])
        parts = [
            functional_call(self, {name: table}, (chunk,))
            for chunk in ids.split(chunk_size)
        ]
        return torch.cat(parts)

    def _embed_at(self, tokens: Tensor, start: int) -> Tensor:
        """See :class:`TextTower`."""
        stop = start + tokens.shape[1]
        mask, positions = (
            f'{self._prefix}attn_mask',
            f'{self._prefix}positional_embedding',
        )
        tables = {
            mask: self.get_buffer(mask)[start:stop, start:stop],
            positions: self.get_parameter(positions)[start:stop],
        }
        return functional_call(self, tables, (tokens,))


@MODELS.register_module()
class OpenCLIPTextEncoder(TowerTextEncoder):
    """Any text tower that open_clip can build.

    Args:
        model: Name of an open_clip model (``open_clip.list_models()``, or with
            ``hf-hub:`` or ``local-dir:``), or a dict such as ``dict(embed_dim=128,
            text_cfg=dict(width=128, heads=4, layers=4, context_length=32))`` for an own
            tower with CLIP's tokenizer, which starts from random weights.
        pretrained: Weights of a named model: a tag of open_clip, for instance
            ``'openai'`` (``open_clip.list_pretrained()``), or a local file, also
            OpenAI's original archive. They are loaded by :meth:`init_weights`.
        templates, template_average, trainable, chunk_size, cache_dir, vocabulary: See
            :class:`TowerTextEncoder`.
        init_cfg: As in mmengine; the way to load weights of an own tower, or those of
            a whole CLIP in a file of its own (the text part of them is taken).

    Raises:
        ValueError: If the model is unknown or its description incomplete.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any],
        pretrained: str | os.PathLike | None = None,
        templates: str | Sequence[str] = 'imagenet',
        template_average: str = 'normalized',
        trainable: Trainable = False,
        chunk_size: int = 32,
        cache_dir: str | os.PathLike | None = None,
        vocabulary: Any = None,
        init_cfg: Any = None,
    ) -> None:
        import open_clip  # takes seconds, and models without a tower do not need it

        if isinstance(model, str):
            config = named_config(model, pretrained)
            tokenizer = open_clip.get_tokenizer(model)
        else:
            config = _own_config(model, pretrained)
            tokenizer = open_clip.SimpleTokenizer(
                context_length=config['text_cfg'].get('context_length', 77)
            )
            _check_vocabulary_size(config['text_cfg'], tokenizer.vocab_size)
        embed_dims = config['embed_dim']
        if config['text_cfg'].get('proj_type') == 'none':
            embed_dims = config['text_cfg']['width']
        super().__init__(
            OpenCLIPTextTower(build_clip(config), description=config),
            tokenizer,
            embed_dims,
            templates=templates,
            template_average=template_average,
            trainable=trainable,
            chunk_size=chunk_size,
            cache_dir=cache_dir,
            vocabulary=vocabulary,
            init_cfg=init_cfg,
        )
        self.model = model
        self.pretrained = None if pretrained is None else os.fspath(pretrained)
        by_scheme = isinstance(model, str) and is_self_contained(model)
        self.brings_weights = self.pretrained is not None or by_scheme
        self._awaits_weights = self.brings_weights

    def init_weights(self) -> None:
        """Load the pretrained weights, or what ``init_cfg`` says.

        Raises:
            CheckpointError: The weights are not available or do not fit; the message
                names them.
        """
        if self._awaits_weights:
            self._load_pretrained()
            self._is_init = True
        else:
            super().init_weights()
        self.weights_changed()

    def encode_names(self, names: Sequence[str]) -> Tensor:
        """See :meth:`TowerTextEncoder.encode_names`."""
        self._check_weights()
        return super().encode_names(names)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """See :meth:`TowerTextEncoder.encode`."""
        self._check_weights()
        return super().encode(texts)

    def _check_weights(self) -> None:
        if self._awaits_weights:
            raise RuntimeError(
                f'The weights of the text tower {self.model!r} (pretrained='
                f'{self.pretrained!r}) have not been loaded: call init_weights() or '
                'load a checkpoint that holds them.'
            )

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        if any(key.startswith(f'{prefix}tower.') for key in state_dict):
            self._awaits_weights = False

    def _load_pretrained(self) -> None:
        clip = pretrained_clip(self.model, self.pretrained)
        try:
            self.tower.clip.load_state_dict(text_state_dict(clip.state_dict()))
        except RuntimeError as error:
            raise CheckpointError(
                f'The text weights of {self.pretrained!r} do not fit the model '
                f'{self.model!r}: {error}'
            ) from error
        self._awaits_weights = False

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The text part of a CLIP (open_clip's, OpenAI's, CAT-Seg's layout)."""
        if any(key.startswith('tower.') for key in state):
            return state
        return {f'tower.clip.{k}': v for k, v in text_state_dict(state).items()}


def text_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a whole CLIP to those of its text side, as open_clip names them."""
    dropped = tuple(f'{name}.' for name in _DROPPED)
    return join_projections(
        {
            key: value
            for key, value in state.items()
            if key not in _UNUSED and not key.startswith(dropped)
        }
    )


def _own_config(model: Mapping[str, Any], pretrained: Any) -> dict[str, Any]:
    missing = {'embed_dim', 'text_cfg'} - set(model)
    unknown = set(model) - {'embed_dim', 'text_cfg', 'quick_gelu'}
    if missing or unknown:
        raise ValueError(
            'The description of a text tower has the keys embed_dim, text_cfg and '
            f'perhaps quick_gelu; missing: {sorted(missing)}, unknown: '
            f'{sorted(unknown)}.'
        )
    if pretrained is not None:
        raise ValueError(
            f'pretrained={pretrained!r} is for models with a name; load the weights of '
            "an own tower by init_cfg=dict(type='Pretrained', checkpoint=...)."
        )
    return {**model, 'text_cfg': dict(model['text_cfg'])}


def _check_vocabulary_size(text_cfg: Mapping[str, Any], needed: int) -> None:
    size = text_cfg.get('vocab_size', needed)
    if size < needed:
        raise ValueError(
            f"text_cfg has vocab_size {size}, but CLIP's tokenizer gives ids up to "
            f'{needed - 1}: leave vocab_size out or set it to {needed}.'
        )


def build_clip(config: Mapping[str, Any]) -> nn.Module:
    """The model with random text weights and a minimal vision tower."""
    import open_clip  # takes seconds, and models without a tower do not need it

    config = dict(config)
    text_cfg = dict(config.pop('text_cfg'))
    from_hf = 'hf_model_name' in text_cfg
    if from_hf:
        text_cfg['hf_model_pretrained'] = False
    if config.pop('custom_text', False) or from_hf:
        kind = (
            open_clip.CoCa if 'multimodal_cfg' in config else open_clip.CustomTextCLIP
        )
    else:
        kind = open_clip.CLIP
    return kind(**{**config, 'text_cfg': text_cfg, 'vision_cfg': dict(_NO_VISION)})


def _is_causal(mask: Tensor | None) -> bool:
    """Whether an additive attention mask (L, L) lets each token see no later one."""
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        return False
    if mask.is_meta:  # without values; open_clip makes no other mask
        return True
    later = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return bool(torch.isneginf(mask[later]).all() and (mask[~later] == 0).all())
