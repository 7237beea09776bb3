"""Which share of a file is meant: what training scripts put around and before keys."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping

from torch import Tensor

State = Mapping[str, Tensor]

# Where training scripts put the state dict inside a checkpoint.
_WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'module', 'teacher')
_EMA = re.compile(r'(^|_)ema(_|$)|averaged')
_MAX_DEPTH = 3  # of a prefix, in parts


def unwrap(content: Mapping) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict in a checkpoint, without the prefixes of DDP and ``compile``.

    Args:
        content: A checkpoint or the state dict itself.

    Returns:
        The state dict, empty if there is none, and the entries beside it that hold
        averaged weights (EMA).
    """
    passed_over: list[str] = []
    while wrapper := _wrapper(content):
        # mmengine swaps the two: its 'state_dict' holds the averaged weights.
        if 'message_hub' not in content:
            passed_over += [
                key
                for key, value in content.items()
                if key != wrapper and isinstance(value, Mapping) and _EMA.search(key)
            ]
        content = content[wrapper]
    state = {
        key.removeprefix('module.').replace('_orig_mod.', ''): value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if len(state) > 1 and any(str(key).startswith('module.') for key in content):
        state.pop('n_averaged', None)  # of torch's AveragedModel
    return state, passed_over


def _wrapper(content: Mapping) -> str | None:
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping) and content[key]:
            return key
    return None


def under(state: State, prefix: str) -> dict[str, Tensor]:
    """The entries whose keys start with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def fitting_prefixes(
    state: State, fits: Callable[[dict[str, Tensor]], bool]
) -> list[str]:
    """Prefixes under which a state dict fits, such as ``'teacher.backbone.'``.

    Args:
        state: A state dict.
        fits: Whether a share of it is what is wanted.
    """
    parts = (key.split('.')[:-1][:_MAX_DEPTH] for key in state)
    prefixes = Counter(
        '.'.join(names[: depth + 1]) + '.'
        for names in parts
        for depth in range(len(names))
    )
    return [prefix for prefix in prefixes if fits(under(state, prefix))]


def common_prefix(state: State, own: State) -> str:
    """The prefix of all keys, if no key of the model starts with it, else ''."""
    tops = {key.partition('.')[0] for key in state}
    if len(tops) != 1 or any('.' not in key for key in state):
        return ''
    prefix = f'{tops.pop()}.'
    return '' if any(key.startswith(prefix) for key in own) else prefix


def hints(own: State, state: State, patch_size: int | None = None) -> str:
    """What would make a file fit, as lines; empty if there is nothing to say.

    Args:
        own: State dict of the module.
        state: What does not fit it.
        patch_size: Side of a patch in pixels.
    """
    lines = []
    for key, value in state.items():
        if key not in own or value.shape == own[key].shape:
            continue
        side = _grid_side(value) if 'pos_embed' in key else None
        if not value.numel():
            lines.append(
                f'{key} is empty: the file is a shard (DeepSpeed ZeRO-3, FSDP). Gather '
                'the weights into one file first'
            )
        elif side and value.shape[-1] == own[key].shape[-1]:
            size = f'={side * patch_size}' if patch_size else ' to match'
            lines.append(f'{key} is for {side} x {side} patches: set img_size{size}')
    return '\n'.join(lines[:1])


def _grid_side(positions: Tensor) -> int | None:
    """Side of a square grid of positions, with or without one for the class token."""
    if positions.ndim == 4:
        return positions.shape[1]
    count = positions.shape[-2] if positions.ndim > 1 else 0
    for patches in (count - 1, count):
        if patches > 0 and math.isqrt(patches) ** 2 == patches:
            return math.isqrt(patches)
    return None
