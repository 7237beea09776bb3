"""``--cfg-options``: values keep their spaces, and every key has to mean something."""

from __future__ import annotations

import argparse
import ast
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner
from mmseg import registry
from torch.utils.data import DataLoader

from mmseg_ovs.utils import OpenVocabError

from .names import did_you_mean

# Read by mmengine's runner or our tools, in addition to the runner's arguments.
_ALSO_READ = {
    *('custom_imports', 'runner_type', 'model_wrapper_cfg', 'find_unused_parameters'),
    *('sync_bn', 'activation_checkpointing', 'efficient_conv_bn_eval', 'compile'),
    *('tta_model', 'tta_pipeline'),
}
# Set by arguments of the commands, or read before the settings are merged.
_NOT_BY_OPTION = {
    'resume': 'give --resume',
    'launcher': 'give --launcher',
    'custom_imports': 'change it in a config file',
}
# Read by MMEngine's builders, and not by the class that they build.
_BUILDER_KEYS = {
    'optim_wrapper': ('constructor', 'paramwise_cfg', 'dtype', 'loss_scale'),
    'param_scheduler': ('convert_to_iter_based',),
    'init_cfg': ('checkpoint', 'prefix', 'map_location'),
}
# Of MMEngine's default constructor.
_PARAMWISE_KEYS = {
    *('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult'),
    *('flat_decay_mult', 'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate'),
}
_LOADER_KEYS = {
    'dataset',
    'num_batch_per_epoch',
    *inspect.signature(DataLoader).parameters,
}
_ENV_KEYS = ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit')
_REGISTRIES = [value for name, value in vars(registry).items() if name.isupper()]


class OptionError(OpenVocabError):
    """A setting of the command line that would change nothing."""


class ConfigOptions(argparse.Action):
    """Reads ``key=value`` settings of a config into a dict.

    Values are Python literals, lists with or without brackets (``a,b`` or ``[a,b]``),
    or text. Unlike MMEngine's ``DictAction`` it keeps the spaces inside values.
    """

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        """Add the settings to those given before."""
        options = dict(getattr(namespace, self.dest) or {})
        for setting in values:
            key, sign, value = setting.partition('=')
            if not sign or not key:
                parser.error(
                    f'{option_string}: {setting!r} is not of the form KEY=VALUE'
                )
            options[key] = parse_value(value)
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """The value of a setting.

    >>> parse_value("['a drawing of {}', 2]"), parse_value('a,1e-3'), parse_value('x y')
    (['a drawing of {}', 2], ['a', 0.001], 'x y')
    """
    text = text.strip()
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    if text.lower() in ('true', 'false'):
        return text.lower() == 'true'
    brackets = text[:1] + text[-1:]
    if brackets in ('[]', '()'):
        entries = [parse_value(part) for part in _split(text[1:-1])]
        return tuple(entries) if brackets == '()' else entries
    parts = _split(text)
    return [parse_value(part) for part in parts] if len(parts) > 1 else text


def _split(text: str) -> list[str]:
    """Split at commas outside of quotes, brackets and braces."""
    parts, depth, quote = [''], 0, ''
    for character in text:
        if quote:
            quote = '' if character == quote else quote
        elif character in '\'"':
            quote = character
        depth += (character in '[({') - (character in '])}') if not quote else 0
        if character == ',' and not quote and not depth:
            parts.append('')
        else:
            parts[-1] += character
    return parts if parts[-1].strip() else parts[:-1]


def apply_options(
    cfg: Config, options: Mapping[str, Any], read: Iterable[str] | None = None
) -> None:
    """Merge settings into a config.

    Args:
        cfg: Changed in place.
        options: By dotted key, as :class:`ConfigOptions` gives them.
        read: Top-level keys that the caller reads. None: those of a runner.

    Raises:
        OptionError: Nothing reads a key; the message has the nearest one that exists.
    """
    top = runner_keys() if read is None else set(read)
    if 'data_preprocessor' in cfg.get('model', {}):
        top.discard('data_preprocessor')  # the model's own wins
    if 'test_dataloader' in cfg:
        top.discard('test_pipeline')  # that of the data set wins
    content = cfg.to_dict()
    known = [key for key in _dotted(content) if key.split('.')[0] in top]
    for key in options:
        head = key.split('.')[0]
        hint = None
        if head in _NOT_BY_OPTION:
            hint = f' Instead, {_NOT_BY_OPTION[head]}.'
        elif head not in top or not _is_read(content, key, options):
            hint = _nearest(key, [*known, *top])
        if hint is not None:
            raise OptionError(f'--cfg-options: nothing reads {key}.{hint}')
    try:
        cfg.merge_from_dict(dict(options))
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise OptionError(
            f'--cfg-options {", ".join(options)} does not fit the config: {error}. '
            'Entries of a list go by number, such as test_evaluator.0.iou_metrics'
        ) from error
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if (cfg.get(loader) or {}).get('num_workers') == 0:
            cfg[loader].persistent_workers = False  # PyTorch refuses them


def runner_keys() -> set[str]:
    """Top-level keys of a config that a runner or our commands read."""
    names = {
        n for r in (Runner, FlexibleRunner) for n in inspect.signature(r).parameters
    }
    return (names | _ALSO_READ) - {'cfg'}


def _is_read(content: Any, key: str, options: Mapping[str, Any]) -> bool:
    """Whether what owns a key takes it, as far as signatures tell."""
    done: list[str] = []
    optimizer = content.get('optim_wrapper') or {}
    custom_constructor = (
        'constructor' in optimizer or 'optim_wrapper.constructor' in options
    )
    parts = key.split('.')
    if parts[:2] == ['optim_wrapper', 'paramwise_cfg'] and len(parts) > 2:
        return custom_constructor or parts[2] in _PARAMWISE_KEYS
    for name, following in zip(parts, [*parts[1:], ''], strict=True):
        if isinstance(content, list | tuple) and name.isdecimal():
            content = content[int(name)] if int(name) < len(content) else None
        elif isinstance(content, Mapping) and name in content:
            content = content[name]
        elif done == ['env_cfg']:
            return name in _ENV_KEYS
        elif done == ['default_hooks']:
            hook = f'default_hooks.{name}'
            return hook in options or f'{hook}.type' in options
        elif len(done) == 1 and done[0].endswith('_dataloader'):
            return name in _LOADER_KEYS
        elif following.isdecimal():
            return False  # of a list that is not there
        elif isinstance(content, Mapping):
            kind = options.get('.'.join([*done, 'type']), content.get('type'))
            names = kind and _argument_names(kind)
            owner = done[-1] if done and not done[-1].isdecimal() else ''.join(done[:1])
            if owner == 'init_cfg':
                return name in _BUILDER_KEYS['init_cfg']
            if name in _BUILDER_KEYS.get(owner, ()):
                return True
            return not names or name in names or name.startswith('_')
        else:
            return content is not None or not name.isdecimal()
        done.append(name)
    return True


def _argument_names(kind: str | type) -> set[str] | None:
    """Arguments of a registered class, those of its bases included."""
    if isinstance(kind, str):
        found = [entry for entry in (r.get(kind) for r in _REGISTRIES) if entry]
        kind = found[0] if found else None
    if not isinstance(kind, type):
        return None
    names = {'type', 'init_cfg', 'priority'}
    for base in kind.__mro__[:-1]:
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        names |= {p.name for p in parameters if p.kind != p.VAR_KEYWORD}
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return names


def _dotted(value: Any, prefix: str = '') -> Iterator[str]:
    """Dotted keys of all settings."""
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
        pairs = enumerate(value)
    else:
        return
    for key, entry in pairs:
        yield f'{prefix}{key}'
        yield from _dotted(entry, f'{prefix}{key}.')


def _nearest(key: str, known: Iterable[str]) -> str:
    """A hint at keys that end alike, or else at those spelled alike."""
    known = list(dict.fromkeys(known))
    last = key.rpartition('.')[2]
    alike = [name for name in known if name.rpartition('.')[2] == last]
    parent = key.rpartition('.')[0]
    siblings = [name for name in known if name.rpartition('.')[0] == parent]
    if alike:
        return f' Did you mean {" or ".join(alike[:3])}?'
    return did_you_mean(key, siblings) or did_you_mean(key, known)
