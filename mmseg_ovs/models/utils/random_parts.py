"""Which weights of a model no file gives: it is refused before anything is downloaded.

A text tower or a CLIP says itself that it loads published weights
(``brings_weights``); other modules do so by an ``init_cfg`` of type ``Pretrained``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import nn

from mmseg_ovs.utils import some_of

from .recognise import CheckpointError


def names_weights(module: nn.Module) -> bool:
    """Whether a module itself loads weights from a file."""
    return getattr(module, 'brings_weights', False) or any(pretrained_cfgs(module))


def brings_weights(part: nn.Module) -> bool:
    """Whether initialising a part loads published weights into some of it."""
    return any(names_weights(module) for module in part.modules())


def pretrained_cfgs(module: nn.Module) -> Iterator[Mapping[str, Any]]:
    """The entries of a module's ``init_cfg`` that name a checkpoint."""
    cfgs = getattr(module, 'init_cfg', None) or []
    for cfg in [cfgs] if isinstance(cfgs, Mapping) else cfgs:
        if isinstance(cfg, Mapping) and cfg.get('type') == 'Pretrained':
            yield cfg


def random_inside(module: nn.Module) -> list[str]:
    """Names of the parts of a module that ``init_weights`` leaves at random values.

    A part of scales and biases only starts from set values.
    """
    if names_weights(module):
        return []
    own = module.named_parameters(recurse=False)
    random = [name for name, value in own if value.ndim > 1]
    for name, part in module.named_children():
        if not any(value.ndim > 1 for value in part.parameters()):
            continue
        if brings_weights(part):
            random += [f'{name}.{inner}' for inner in random_inside(part)]
        else:
            random.append(name)
    return random


def parts_at_random(model: nn.Module, loaded: bool = False) -> list[str]:
    """Names of the parts of a model, and of its proxies, that no file gives weights.

    Args:
        model: The model, whose weights need not be loaded yet.
        loaded: Whether a checkpoint of the whole model gives all but the proxies,
            which no checkpoint has.
    """
    random = [] if loaded else random_inside(model)
    for name, network in proxies(model):
        if brings_weights(network):
            random += [f'{name}.{part}' for part in random_inside(network)]
        elif any(value.ndim > 1 for value in network.parameters()):
            random.append(name)
    return random


def proxies(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Networks beside the model that inference needs, by name; perhaps not loaded."""
    for name, module in model.named_modules():
        if hasattr(module, 'proxy'):
            yield f'{name}.proxy', module.proxy.outline()


def missing_files(model: nn.Module, loaded: bool = False) -> list[str]:
    """Files that parts name as their weights and that are not there.

    Args:
        model: See :func:`parts_at_random`.
        loaded: See :func:`parts_at_random`.
    """
    networks = [network for _, network in proxies(model)]
    named = [
        str(cfg['checkpoint'])
        for network in ([] if loaded else [model]) + networks
        for module in network.modules()
        for cfg in pretrained_cfgs(module)
    ]
    local = dict.fromkeys(name for name in named if '://' not in name)
    return [name for name in local if not Path(name).is_file()]


def require_weights(
    model: nn.Module, loaded: bool = False, allow_random: bool = False
) -> None:
    """Refuse a model whose results would be noise, before anything is downloaded.

    Args:
        model: The model, built and not initialised.
        loaded: See :func:`parts_at_random`.
        allow_random: Only warn, for those who want shapes and times.

    Raises:
        CheckpointError: Parts have no weights, or files that they name are missing.
    """
    given = 'the config' if loaded else 'no checkpoint is given, and the config'
    if random := parts_at_random(model, loaded):
        what = f'{given} names no weights for {", ".join(random)}'
        if not allow_random:
            raise CheckpointError(
                f'The results would be noise: {what}. Give a checkpoint (mmseg-ovs '
                'fetch MODEL says whether one is published, and where), or name a file '
                "in the part's init_cfg (docs/weights.md); to try shapes with random "
                'weights, --allow-random or allow_random=True'
            )
        print_log(
            f'{what[0].upper()}{what[1:]}: they are random, and so are the results',
            'current',
            logging.WARNING,
        )
    if missing := missing_files(model, loaded):
        raise CheckpointError(
            f'No checkpoint at {some_of(missing, 6)}. Download the weights and give '
            'the path of the file (see the README of the config for where they are '
            'published).'
        )
