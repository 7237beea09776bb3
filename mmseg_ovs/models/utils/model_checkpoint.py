"""The one way in which a checkpoint of a whole model is loaded: never half of it.

mmengine logs what does not fit and goes on with random weights. Here it is an error,
except for parts that bring published weights of their own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast
from mmengine.logging import MMLogger, print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import Tensor, nn

from .checkpoint import (
    CheckpointError,
    describe_mismatch,
    find_state_dict,
    read_checkpoint,
    require_finite,
)
from .random_parts import brings_weights, names_weights, random_inside
from .recognise import choose_share, looks_like


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model as it is saved: inside the distributed and the augmenting wrapper."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def load_model_checkpoint(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Load a checkpoint of the whole model strictly (see :func:`complete_state`).

    Args:
        model: The model; a wrapper around it is looked through.
        path: File or URL.

    Returns:
        The checkpoint's ``meta``, empty if it has none.

    Raises:
        CheckpointError: The file is unreadable or does not fit.
    """
    model = unwrap_model(model)
    content = read_checkpoint(path)
    state = find_state_dict(content, str(path))
    model.load_state_dict(complete_state(model, state, str(path)))
    return content.get('meta') or {}


def complete_state(
    model: nn.Module,
    state: Mapping[str, Tensor],
    name: str,
    allow: Sequence[str] = (),
    own: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Check a state dict against a model and add the parts that it may lack.

    A *whole* part (a direct child such as ``backbone``) without any weight in the
    state dict keeps its values if it has been initialised already (at the start of a
    training run), and is initialised now if it brings weights of its own: checkpoints
    of a head alone work with published towers. Inside a part the same holds for a
    network that itself names its weights (a frozen prior among the necks).

    Args:
        model: The model, without wrapper.
        state: Weights by name; the model's ``convert_state_dict`` is applied first, if
            it has one.
        name: What the checkpoint is called in messages.
        allow: Regular expressions of keys that may be missing or unexpected.
        own: The model's state dict, where it takes more than asking the model for it
            (sharded weights).

    Returns:
        Weights for every key of the model, and no others.

    Raises:
        CheckpointError: Anything else is missing, unexpected, of another shape or not
            finite; or no key of the state dict belongs to the model.
    """
    own, given = model.state_dict() if own is None else own, state
    state = _share_of_model(model, own, state, name, allow)
    kept = {k for k in own if any(re.search(pattern, k) for pattern in allow)}
    lacking: dict[str, nn.Module] = {}
    if any(k in own for k in state):
        lacking = dict(_parts_with_values(model, own, state))
        kept.update(k for k in own if k.startswith(tuple(f'{p}.' for p in lacking)))
    filled = {**{k: own[k] for k in kept}, **state}
    mismatch = describe_mismatch(own, filled)
    if mismatch:
        method = looks_like(given)
        looks = f'It looks like a file of {method}. ' if method else ''
        raise CheckpointError(
            f'{name} does not fit the model of the config. {looks}Was it trained with '
            'another config? If it holds a part of the model alone, name it in the '
            f'init_cfg of this part (see the README of the config)\n{mismatch}'
        )
    require_finite(state, name)
    for part, module in lacking.items():
        if not getattr(module, 'is_init', False):
            init_own_weights(module)
        print_log(f'{name} has no weights for {part!r}: it keeps its own', 'current')
    # The values of parts initialised above were copied into the same tensors.
    return filled


def _share_of_model(
    model: nn.Module,
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    name: str,
    allow: Sequence[str],
) -> dict[str, Tensor]:
    """What a file has for a model, under its names; all of it if nothing fits."""
    convert = getattr(model, 'convert_state_dict', dict)

    def fits(share: dict[str, Tensor]) -> bool:
        share = convert(share)
        return bool(share) and all(
            k in own and own[k].shape == v.shape for k, v in share.items()
        )

    state = {
        k: v
        for k, v in convert(dict(state)).items()
        if k in own or not any(re.search(pattern, k) for pattern in allow)
    }
    if not fits(state):
        share = choose_share(state, fits, name, 'the model')
        state = state if share is None else convert(share)
    return state


def _parts_with_values(
    module: nn.Module,
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    prefix: str = '',
) -> Iterator[tuple[str, nn.Module]]:
    """Parts that a state dict has no weights for, and that need none from it."""
    for name, part in module.named_children():
        path = f'{prefix}{name}'
        given = [key in state for key in own if key.startswith(f'{path}.')]
        if prefix:
            ready = names_weights(part)
        else:
            ready = getattr(part, 'is_init', False) or (
                brings_weights(part) and not random_inside(part)
            )
        if ready and given and not any(given):
            yield path, part
        elif not all(given):
            yield from _parts_with_values(part, own, state, f'{path}.')


def init_own_weights(module: nn.Module, allow_random: bool = False) -> None:
    """Let a model or a part load the weights that its config names.

    Rank 0's values go to all ranks, since what has no published weights is initialised
    at random.

    Args:
        module: The model or the part.
        allow_random: Only warn of files that lack weights.

    Raises:
        CheckpointError: A file lacks weights of the part that names it, or has them in
            another shape. Parts of MMSegmentation and MMPretrain only log that.
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    # Without a log file, mmengine would print three lines for each parameter.
    logger.setLevel(logging.WARNING)
    mismatches = _Mismatches()
    logger.addHandler(mismatches)
    try:
        module.init_weights()
    finally:
        logger.setLevel(level)
        logger.removeHandler(mismatches)
    if mismatches.found and not allow_random:
        raise CheckpointError(
            'A file that init_cfg names does not fit its part, which would keep random '
            'weights: correct the file, its prefix or the part\n'
            + '\n'.join(mismatches.found)
        )
    for value in module.state_dict().values():
        broadcast(value)


class _Mismatches(logging.Handler):
    """Collects what mmengine logs of weights that a file lacks."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith('The model and loaded state dict do not match exactly'):
            lines = map(str.strip, message.splitlines())
            kinds = ('missing keys', 'size mismatch')
            self.found += [line[:500] for line in lines if line.startswith(kinds)]
