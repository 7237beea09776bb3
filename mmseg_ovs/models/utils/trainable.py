"""Which parameters of a pretrained network are trained."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# What a config gives as ``trainable``.
Trainable = bool | str | Sequence[str]

# Regular expressions of parameter names, in our layout and in open_clip's.
TRAINABLE = {
    'blocks': (r'(^|\.)(res)?blocks\.\d+\.',),
    'attention': (r'(^|\.)attn\.',),
    'query_value': (r'(^|\.)attn\.(qkv\.|in_proj_)weight$',),
}


def set_trainable(module: nn.Module, trainable: Trainable) -> None:
    """Freeze every parameter of a network but those named.

    Nothing is unfrozen: what is frozen already (by ``frozen_stages``) stays frozen. To
    be called when a model is built, before DDP looks at it. The learning rate of what
    remains is a matter of the optimizer:
    ``paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.01)))``.

    Args:
        module: The network.
        trainable: True, all of it; False, nothing; 'blocks' (CAT-Seg's "full":
            transformer blocks, but no embeddings, norms and projections around them);
            'attention' (attention layers); 'query_value' (CAT-Seg's "attention": the
            projections of queries and values without biases); or regular expressions
            of which one has to be found in a parameter's name.

    Raises:
        ValueError: An unknown word, or an expression that no parameter's name has.
    """
    if trainable is True:
        return
    patterns = () if trainable is False else trainable
    if isinstance(trainable, str):
        if trainable not in TRAINABLE:
            raise ValueError(
                f'trainable has to be True, False, one of {sorted(TRAINABLE)} or a '
                f'list of regular expressions, got {trainable!r}'
            )
        patterns = TRAINABLE[trainable]
    parameters = dict(module.named_parameters())
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in parameters):
            raise ValueError(
                f'No parameter of {type(module).__name__} is trainable by {pattern!r}; '
                f'names are like {", ".join(list(parameters)[:5])}'
            )
    for name, parameter in parameters.items():
        if not any(re.search(pattern, name) for pattern in patterns):
            parameter.requires_grad_(False)
        elif trainable == 'query_value' and parameter.requires_grad:
            parameter.register_hook(_without_keys)


def _without_keys(gradient: Tensor) -> Tensor:
    """Gradient of one weight for queries, keys and values, zero for the keys."""
    query, key, value = gradient.chunk(3)
    return torch.cat([query, torch.zeros_like(key), value])
