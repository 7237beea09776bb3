"""Which share of a file is meant: what training scripts put around and before keys."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping

from mmengine.logging import print_log
from torch import Tensor

from mmseg_ovs.utils import OpenVocabError, some_of

State = Mapping[str, Tensor]


class CheckpointError(OpenVocabError):
    """A checkpoint cannot be read, or does not fit the module."""


# Where training scripts put the state dict inside a checkpoint.
_WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'module', 'teacher')
_MAX_DEPTH = 3  # of a prefix, in parts


def unwrap(content: Mapping) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict in a checkpoint, without the prefixes of DDP and ``compile``.

    Args:
        content: A checkpoint or the state dict itself.

    Returns:
        The state dict, empty if there is none or if several could be meant, and the
        other entries that hold weights (averaged ones, a student).
    """
    passed_over: list[str] = []
    while entries := _entries_with_weights(content):
        known = [key for key in _WRAPPERS if key in entries]
        if not known and (len(entries) > 1 or _has_tensors(content)):
            return _state(content), entries
        wrapper = known[0] if known else entries[0]
        # mmengine swaps the two: its 'state_dict' holds the averaged weights.
        if 'message_hub' not in content:
            passed_over += [key for key in entries if key != wrapper]
        content = content[wrapper]
    return _state(content), passed_over


def _state(content: Mapping) -> dict[str, Tensor]:
    state = {
        key.removeprefix('module.').replace('_orig_mod.', ''): value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if len(state) > 1 and any(str(key).startswith('module.') for key in content):
        state.pop('n_averaged', None)  # of torch's AveragedModel
    return state


def _entries_with_weights(content: Mapping) -> list[str]:
    """Entries that hold a state dict, possibly within another."""
    return [
        key
        for key, value in content.items()
        if isinstance(key, str)
        and isinstance(value, Mapping)
        and 'optim' not in key  # its state is no weights
        and (
            _has_tensors(value)
            or any(isinstance(value.get(name), Mapping) for name in _WRAPPERS)
        )
    ]


def _has_tensors(content: Mapping) -> bool:
    return any(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())


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


def choose_share(
    state: State, fits: Callable[[dict[str, Tensor]], bool], name: str, what: str
) -> dict[str, Tensor] | None:
    """The share of a state dict under the only prefix that fits.

    What is left out is logged.

    Args:
        state: A state dict that does not fit as it is.
        fits: See :func:`fitting_prefixes`.
        name: What the file is called in messages.
        what: What is looked for.

    Returns:
        The share; None if no prefix fits.

    Raises:
        CheckpointError: Several fit, or the one that does is the smaller part of the
            file.
    """
    prefixes = fitting_prefixes(state, fits)
    if not prefixes:
        return None
    share = under(state, prefixes[0])
    if len(prefixes) > 1 or 2 * len(share) < len(state):
        raise CheckpointError(
            f'{name} holds more than {what}, which fits under '
            f'{" and under ".join(map(repr, prefixes))}: say which with prefix=... in '
            'init_cfg, or save it as a file of its own'
        )
    rest = [key for key in state if not key.startswith(prefixes[0])]
    if rest:
        print_log(
            f'{name}: took the {len(share)} keys under {prefixes[0]!r}, left out '
            f'{len(rest)} others ({some_of(rest)})',
            'current',
            logging.WARNING,
        )
    return share


# What published files are, by what their keys contain; the most telling first.
_METHODS = [
    (r'^sem_seg_head\.predictor\.prompt_tokens', 'PixelCLIP'),
    (r'^sem_seg_head\.predictor\.transformer\.', 'CAT-Seg'),
    (
        r'^(clip_visual_extractor|clip_rec_head|ov_classifier)\.',
        "SAN's authors, which MMSegmentation's tools/model_converters/san2mmseg.py "
        'converts',
    ),
    (r'side_adapter_network\.', 'SAN'),
    (
        r'^decode_head\.rec_with_attnbias\.',
        'CLIP alone, from which MMSegmentation trains SAN',
    ),
    (r'^clip_text_encoder\.prompt_learner\.', 'CoDe'),
    (r'^clip_image_encoder\.', 'TCL'),
    (r'^obj_proj\.', 'CLIP-DINOiser'),
    (r'^(img_encoder\.layers|vision_model\.encoder\.stages)\.', 'GroupViT'),
    (r'^mask_decoder\.', 'SAM'),
    (r'^visual_model\.|^text_model\.backbone\.', 'dino.txt'),
    (r'^linear_layer\.', "Talk2DINO's projection"),
    (r'^visual\.transformer\.resblocks\.', 'CLIP'),
    (r'^storage_tokens$|^rope_embed\.', 'DINOv3'),
    (r'^blocks\.\d+\.attn\.qkv\.', 'a DINO backbone'),
]


def looks_like(state: State) -> str | None:
    """Whose file a state dict is, by its keys; None if that is not known."""
    for pattern, method in _METHODS:
        if any(re.search(pattern, key) for key in state):
            return method
    return None


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
