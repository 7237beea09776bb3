"""What a figure depends on, in words: printed and written beside every result.

Figures of this field differ by input size, windows, names, background rule and
refinement more than by method, and papers often leave them out.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

import mmengine
import mmseg
import torch
from mmengine.config import Config
from torch import nn

from mmseg_ovs.jobs import file_digest, sha256
from mmseg_ovs.models.postprocessors import ImagePostProcessor
from mmseg_ovs.models.segmentors import InferenceCfg
from mmseg_ovs.models.utils import (
    FrozenTeacher,
    parts_at_random,
    unwrap_model,
    weights_digest,
)
from mmseg_ovs.models.utils.random_parts import pretrained_cfgs
from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.version import __version__

# Steps of a pipeline that leave the image as it is.
_SILENT = ('Load', 'Pack')


def describe_protocol(model: nn.Module, cfg: Config, seed: int | None) -> dict:
    """The protocol of a test, one line of text for each of its aspects.

    Args:
        model: The model as it is tested: weights loaded, vocabulary set. Wrappers are
            looked through. Stock models have fewer aspects.
        cfg: The config of the run.
        seed: The seed of the run.

    Returns:
        Aspect to text; the keys that every protocol has come in the same order.
    """
    bare = unwrap_model(model)
    return {
        **_input(cfg),
        **_backbone(bare),
        **_inference(bare),
        **_text(bare),
        **_vocabulary(bare, cfg),
        'post-processors': _postprocessors(bare),
        **_weights(bare, cfg),
        'metric': _join(_evaluators(cfg)),
        'device': _device(bare),
        'versions': versions(),
        'seed': str(seed),
    }


def describe_switches(model: nn.Module) -> dict[str, str]:
    """The line of the protocol on how a model was made faster."""
    switches = getattr(unwrap_model(model), 'acceleration', ())
    return {'acceleration': _join(switches)}


def format_protocol(protocol: Mapping[str, str]) -> str:
    """The block as it is printed: a line for each aspect."""
    width = max(map(len, protocol))
    return '\n'.join(f'{name:<{width}}  {text}' for name, text in protocol.items())


def versions() -> str:
    """Versions of everything that a result may depend on."""
    packages = dict(mmseg_ovs=__version__, mmseg=mmseg.__version__)
    packages.update(mmengine=mmengine.__version__, torch=torch.__version__)
    return ', '.join(f'{name} {version}' for name, version in packages.items())


def _join(parts: Sequence[str], empty: str = 'none') -> str:
    return ', '.join(parts) or empty


def _size(size: Sequence[int]) -> str:
    return ' x '.join(map(str, size))


def _call(cfg: Mapping[str, Any]) -> str:
    """A config as the call that it means."""
    values = ', '.join(f'{k}={v!r}' for k, v in cfg.items() if k != 'type')
    kind = cfg['type']
    return f'{kind if isinstance(kind, str) else kind.__name__}({values})'


def _plain(value: Any) -> Any:
    """A config without mmengine's classes."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(v) for v in value)
    return value


def _input(cfg: Config) -> dict[str, str]:
    data = _plain(cfg.test_dataloader.dataset)
    steps = [
        _call(step)
        for step in data.get('pipeline') or []
        if not str(step['type']).startswith(_SILENT)
    ]
    where = {
        key: data[key]
        for key in ('data_root', 'ann_file', 'data_prefix')
        if data.get(key)
    }
    return {
        'data set': _call(dict(type=data['type'], **where)),
        'input': _join(steps, 'as it is'),
    }


def _inference(model: nn.Module) -> dict[str, str]:
    given = dict(getattr(model, 'test_cfg', None) or {})
    if hasattr(model, 'text_encoder'):  # ours: with the defaults
        given = dataclasses.asdict(InferenceCfg(**given))
    mode = given.get('mode', 'whole')
    lines = {'mode': mode}
    if mode == 'whole':
        lines['aggregation'] = 'none (one view)'
        if given.get('resize_once'):
            lines['aggregation'] += ', scores resized once, from the grid'
        if given.get('input_size'):
            lines['image'] = f'stretched to {_size(given["input_size"])}'
    else:
        lines['window'] = (
            f'{_size(given["crop_size"])}, stride {_size(given["stride"])}'
        )
        if given.get('input_size'):
            lines['window'] += f', resized to {_size(given["input_size"])}'
        lines['aggregation'] = 'mean of scores where windows overlap'
    if mode == 'local-global':
        lines['image'] = f'stretched to {_size(given["image_size"])}'
        what = given['aggregation']
        lines['aggregation'] = f'mean of the {what} of windows and whole image'
    if given.get('window_softmax') and mode != 'whole':
        lines['aggregation'] += ', softmax over the names in each window before'
    activation = getattr(getattr(model, 'decode_head', None), 'activation', None)
    if isinstance(activation, nn.Softmax):
        lines['aggregation'] += ', softmax over the names on the patch grid before'
    if given.get('best_name_before_resize'):
        lines['aggregation'] += '; best name of a class before the last resize'
    if given.get('propagation'):
        graph = _call(_plain(model.graph.proxy.cfg))
        lines['propagation'] = f'{_plain(given["propagation"])}, graph of {graph}'
    if given.get('seen_handicap'):
        names = sha256('\n'.join(model.trained_names))[:16]
        lines['seen handicap'] = (
            f'{given["seen_handicap"]:g} on classes among {len(model.trained_names)} '
            f'trained names, hash {names}'
        )
    if given.get('logit_scale') is not None:
        scale = given['logit_scale']
        lines['aggregation'] += (
            f'; at the original size softmax of {scale:g} x score over all names'
        )
        if given.get('min_area'):
            lines['aggregation'] += f'; classes up to area {given["min_area"]:g} out'
        if given.get('min_probability'):
            least = given['min_probability']
            lines['aggregation'] += f'; background below probability {least:g}'
    if given.get('input_size') and not given.get('input_antialias', True):
        lines['image' if mode == 'whole' else 'window'] += ' without antialiasing'
    return lines


def _backbone(model: nn.Module) -> dict[str, str]:
    """What the weights do not show of a CLIP."""
    backbone, lines = getattr(model, 'backbone', None), {}
    if getattr(model, 'encoder_resolution', None):
        lines['input of CLIP'] = (
            f'padded to multiples of {model.size_divisor}, resized by '
            f'{model.encoder_resolution:g}'
        )
    proxy = getattr(backbone, 'proxy', None)
    if isinstance(proxy, FrozenTeacher):
        how = f'beta {backbone.beta:g}, gamma {backbone.gamma:g}'
        if proxy.input_size:
            how += f', images stretched to {_size(proxy.input_size)}'
        network = proxy.network(next(model.parameters()).device)
        how += f', SHA-256 {weights_digest(network)[:16]}'
        lines['attention'] = f'{_call(_plain(proxy.cfg))}, {how}'
    elif getattr(backbone, 'last_block', None):
        lines['attention'] = f'last block {_plain(backbone.last_block)}'
    return lines


def _text(model: nn.Module) -> dict[str, str]:
    encoder = getattr(model, 'text_encoder', None)
    if encoder is None:
        return {'text': 'none', 'templates': 'none'}
    encoder = getattr(encoder, 'encoder', encoder)  # inside SAN's
    parts = [type(encoder).__name__]
    for name in ('model', 'pretrained', 'part'):
        value = getattr(encoder, name, None)
        if isinstance(value, str):
            parts.append(value)
        elif isinstance(value, Mapping):
            parts.append(f'{name} {_plain(value)}')
    if isinstance(getattr(encoder, 'path', None), str):  # vectors without a tower
        digest = file_digest(encoder.path)[:16]
        parts.append(f'{Path(encoder.path).name} (SHA-256 {digest})')
    if not hasattr(encoder, 'templates'):
        return {'text': _join(parts), 'templates': 'those of the vectors'}
    count, average = len(encoder.templates), encoder.template_average
    digest = sha256('\n'.join(encoder.templates))[:16]
    first = f'{count} templates ({encoder.templates[0]!r}'
    first += ', ...)' if count > 1 else ')'
    average = 'kept apart' if average == 'none' else f'average {average}'
    return {'text': _join(parts), 'templates': f'{first}, {average}, hash {digest}'}


def _vocabulary(model: nn.Module, cfg: Config) -> dict[str, str]:
    vocabulary: Vocabulary | None = getattr(model, 'vocabulary', None)
    if vocabulary is None:
        count = getattr(model, 'num_classes', None)
        return {'vocabulary': f'fixed, {count} classes', 'background': 'as trained'}
    hook = _find_hook(cfg, 'VocabularyHook') or {}
    named = hook.get('vocabulary')
    if isinstance(named, Mapping):
        named = named.get('source', 'a dict')
    source = named if isinstance(named, str) else 'the data set'
    text = (
        f'{vocabulary.num_classes} classes, {len(vocabulary.rows)} names of {source}, '
        f'hash {vocabulary.fingerprint()}'
    )
    return {'vocabulary': text, 'background': _background(vocabulary)}


def _background(vocabulary: Vocabulary) -> str:
    """The background rule."""
    label, score = vocabulary.background_class, vocabulary.background_score
    if label is None:
        return 'none'
    if score is not None:
        return f'label {label}, where no class scores above {score:g}'
    names = vocabulary.synonyms[label]
    if names == ('background',):
        return f"label {label}, scored by the word 'background'"
    return f'label {label}, the best of {len(names)} names'


def _postprocessors(model: nn.Module) -> str:
    refine = (getattr(model, 'test_cfg', None) or {}).get('refine', True)
    run = [
        processor
        for processor in getattr(model, 'postprocessors', ())
        if refine or not isinstance(processor, ImagePostProcessor)
    ]
    return _join(map(_settings, run))


def _settings(module: nn.Module) -> str:
    """A module with the values of its constructor's arguments."""
    names = inspect.signature(type(module).__init__).parameters
    names = [n for n in names if n != 'init_cfg' and hasattr(module, n)]
    values = {n: getattr(module, n) for n in names}
    return _call(dict(type=type(module).__name__, **values))


def _weights(model: nn.Module, cfg: Config) -> dict[str, str]:
    sources = [_file_name(cfg.load_from)] if cfg.get('load_from') else []
    sources += sorted(
        {
            _file_name(cfg['checkpoint'])
            for module in model.modules()
            for cfg in pretrained_cfgs(module)
        }
    )
    lines = {'weights': f'SHA-256 {weights_digest(model)[:16]}, {_join(sources)}'}
    if chance := parts_at_random(model, loaded=bool(cfg.get('load_from'))):
        lines['weights'] += f'; AT RANDOM: {_join(chance)}'
    parameters = list(model.parameters())
    count = sum(p.numel() for p in parameters)
    kinds = sorted({str(p.dtype).removeprefix('torch.') for p in parameters})
    lines['parameters'] = f'{count:,} ({_join(kinds)})'
    return lines


def _file_name(address: object) -> str:
    """The name of a checkpoint; of the Hub, where many have one name, its address."""
    bare = urldefrag(str(address)).url
    return bare if bare.startswith('hf://') else Path(bare).name


def _evaluators(cfg: Config) -> list[str]:
    evaluators = cfg.test_evaluator
    evaluators = [evaluators] if isinstance(evaluators, Mapping) else evaluators
    # Where results are written does not change them.
    hidden = ('output_dir', 'per_class_csv')
    return [
        _call({k: v for k, v in _plain(item).items() if k not in hidden})
        for item in evaluators
    ]


def _find_hook(cfg: Config, kind: str) -> Mapping | None:
    hooks = [*cfg.get('default_hooks', {}).values(), *cfg.get('custom_hooks', [])]
    return next((hook for hook in hooks if hook and hook['type'] == kind), None)


def _device(model: nn.Module) -> str:
    device = next(model.parameters()).device
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return device.type
