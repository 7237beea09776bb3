"""The one way in which a published checkpoint reaches a module.

A module says how foreign layouts map to its own keys (``convert_state_dict``); the
loader reads files safely, compares keys and shapes and lists everything that does not
fit before anything is copied.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import load_file
from torch import Tensor, nn

from mmseg_ovs.utils import OpenVocabError, some_of

from .recognise import (
    CheckpointError,
    choose_share,
    hints,
    looks_like,
    under,
    unwrap,
)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a ``.safetensors`` or torch file, or a URL.

    Args:
        path: Local file, or anything that mmengine's loader takes (``https://``, ...).

    Raises:
        CheckpointError: The file is missing, truncated, holds objects that
            ``weights_only`` refuses, or holds no tensors; or there is no network.
    """
    return find_state_dict(read_checkpoint(path), str(path))


def _is_markup(path: str) -> bool:
    with open(path, 'rb') as file:
        return file.read(64).lstrip().startswith(b'<')


def read_checkpoint(path: str | Path) -> Mapping:
    """Read all that a checkpoint holds; arguments as :func:`read_state_dict`.

    Raises:
        CheckpointError: As :func:`read_state_dict`, but it may hold no tensors.
    """
    name = str(path)
    is_local = '://' not in name
    if is_local and not Path(name).is_file():
        raise CheckpointError(
            f'No checkpoint at {name}. Download the weights and give the path of the '
            'file (see the README of the config for where they are published).'
        )
    try:
        if not is_local:
            content = CheckpointLoader.load_checkpoint(name, map_location='cpu')
        elif name.endswith('.safetensors'):
            content = load_file(name)
        else:
            content = torch.load(name, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        if is_local and _is_markup(name):
            raise CheckpointError(
                f'{name} is a web page, and no checkpoint: save the file itself, not '
                'the page that tells of it.'
            ) from error
        raise CheckpointError(
            f'{name} is not a plain state dict: {error}. Checkpoints are read with '
            'weights_only=True. If you trust the file, save its state dict alone: '
            'torch.save(torch.load(path, weights_only=False)["state_dict"], new_path).'
        ) from error
    except OpenVocabError:  # of an address: no network, no permission, another file
        raise
    except PermissionError as error:
        raise CheckpointError(f'{name} cannot be read ({error})') from error
    except Exception as error:  # of any kind: the unpickler reads what bytes there are
        raise CheckpointError(
            f'{name} cannot be read ({error}). The file is truncated or no checkpoint; '
            'download it again and compare its size or checksum.'
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f'{name} holds a {type(content).__name__}, not a state dict'
        )
    return content


def find_state_dict(content: Mapping, name: str) -> dict[str, Tensor]:
    """The state dict inside what training scripts wrap around it.

    Args:
        content: A checkpoint or the state dict itself.
        name: What the checkpoint is called in messages.

    Raises:
        CheckpointError: It holds no tensors by name.
    """
    state, passed_over = unwrap(content)
    if not state and passed_over:
        raise CheckpointError(
            f'{name} holds several state dicts: {", ".join(passed_over)}. Name one '
            'with prefix=... in init_cfg, or save it as a file of its own'
        )
    if not state:
        keys = sorted(map(str, content))[:10]
        raise CheckpointError(f'{name} holds no tensors; keys: {keys}')
    if passed_over:
        print_log(
            f'{name} also holds weights under {passed_over}, which are not loaded. An '
            f"init_cfg takes them with prefix='{passed_over[0]}'; else save them as a "
            'file of their own.',
            'current',
            logging.WARNING,
        )
    return state


def describe_mismatch(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], limit: int = 20
) -> str:
    """Text that lists missing, unexpected and misshapen keys; empty if all fits.

    Args:
        own: State dict of the module.
        state: What is to be loaded.
        limit: Keys of a kind that are named.
    """
    missing = [k for k in own if k not in state]
    unexpected = [k for k in state if k not in own]
    misshapen = [
        f'{k}: checkpoint {tuple(state[k].shape)}, model {tuple(own[k].shape)}'
        for k in own
        if k in state and own[k].shape != state[k].shape
    ]
    lines = []
    for what, keys in (
        ('missing', missing),
        ('unexpected', unexpected),
        ('of another shape', misshapen),
    ):
        if keys:
            shown = keys[:limit] + (['...'] if len(keys) > limit else [])
            lines.append(f'{len(keys)} {what}: ' + '; '.join(shown))
    return '\n'.join(lines)


def require_finite(state: Mapping[str, Tensor], name: str) -> None:
    """Refuse weights that are NaN or infinite, such as those of a diverged training.

    Args:
        state: Weights by name.
        name: What the checkpoint is called in messages.

    Raises:
        CheckpointError: Names the keys.
    """
    broken = [k for k, v in state.items() if not v.isfinite().all()]
    if broken:
        raise CheckpointError(
            f'{name} has NaN or infinite values in {len(broken)} of {len(state)} '
            f'weights: {some_of(broken)}. Its training diverged, or the file is '
            'damaged: take an earlier checkpoint'
        )


def load_pretrained(
    module: nn.Module,
    checkpoint: str | Path | Mapping[str, Tensor],
    prefix: str | None = None,
) -> dict[str, Tensor]:
    """Load a published checkpoint strictly.

    Without a prefix, the file may hold other networks too, if only one prefix fits
    and most of the file is under it (a teacher with its training heads); what is left
    out is logged.

    Args:
        module: Target. If it has ``convert_state_dict(state) -> state`` that maps the
            published layouts to its own keys, it is applied first.
        checkpoint: File, URL or a state dict.
        prefix: Keep only the keys that start with it, and cut it off (``'backbone.'``).
            May begin with an entry of the file (``'model_ema'``).

    Returns:
        What was taken of the file, before the conversion.

    Raises:
        CheckpointError: Unreadable file, keys and shapes that do not fit (listed), or
            values that are not finite.
    """
    is_state = isinstance(checkpoint, Mapping)
    name = 'the state dict' if is_state else str(checkpoint)
    content = checkpoint if is_state else read_checkpoint(checkpoint)
    prefix = prefix and prefix.rstrip('.') + '.'
    if prefix:
        entry, _, rest = prefix.partition('.')
        if isinstance(content.get(entry), Mapping):
            content, prefix = content[entry], rest
    state = find_state_dict(content, name)
    if prefix:
        share = under(state, prefix.removeprefix('module.'))
        if not share:
            raise CheckpointError(
                f'{name} has no keys under {prefix!r}. Its keys begin with '
                f'{some_of(sorted({k.partition(".")[0] + "." for k in state}), 6)} '
                "(without DDP's 'module.')"
            )
        state = share
    convert = getattr(module, 'convert_state_dict', dict)
    own = module.state_dict()
    converted = convert(state)
    if describe_mismatch(own, converted):
        state = _fitting_share(module, own, state, convert, name)
        converted = convert(state)
    require_finite(converted, name)
    module.load_state_dict(converted)
    return state


def _fitting_share(
    module: nn.Module,
    own: Mapping[str, Tensor],
    state: dict[str, Tensor],
    convert: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    name: str,
) -> dict[str, Tensor]:
    """The share of a state dict that fits a module.

    Raises:
        CheckpointError: None does, several do, or it is the smaller part of the file.
    """

    def fits(share: dict[str, Tensor]) -> bool:
        try:
            return not describe_mismatch(own, convert(share))
        except (KeyError, RuntimeError, CheckpointError):  # of another layout
            return False

    share = choose_share(state, fits, name, f'a {type(module).__name__}')
    if share is not None:
        return share
    converted = convert(state)
    hint = hints(own, converted, getattr(module, 'patch_size', None))
    method = looks_like(state)
    looks = f'It looks like a file of {method}. ' if method else ''
    raise CheckpointError(
        f'{name} does not fit {type(module).__name__}. {looks}'
        f'{hint or "Is it for another architecture or size?"}\n'
        f'{describe_mismatch(own, converted)}'
    )


class PretrainedModule(BaseModule):
    """A ``BaseModule`` whose ``init_cfg`` of type ``Pretrained`` loads strictly.

    mmengine's own ``PretrainedInit`` only logs keys that do not fit. Here they raise
    :class:`CheckpointError`, and published layouts are recognised.
    """

    def init_weights(self) -> None:
        """Initialise, then load what ``init_cfg`` names as pretrained."""
        original = self.init_cfg
        cfgs = [original] if isinstance(original, dict) else list(original or [])
        pretrained = [cfg for cfg in cfgs if cfg['type'] == 'Pretrained']
        self.init_cfg = [cfg for cfg in cfgs if cfg['type'] != 'Pretrained']
        try:
            super().init_weights()
        finally:
            self.init_cfg = original
        for cfg in pretrained:
            load_pretrained(self, cfg['checkpoint'], cfg.get('prefix'))
