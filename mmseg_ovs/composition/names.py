"""Models and data sets by name: those of a checkout, or those a wheel carries."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmengine.config import Config

from mmseg_ovs.utils import OpenVocabError

_PACKAGE = Path(__file__).resolve().parents[1]
# openmim's folder in a wheel, and that of a checkout.
_ROOTS = (_PACKAGE / '.mim' / 'configs', _PACKAGE.parent / 'configs')


class UnknownConfigError(OpenVocabError):
    """There is no such model or data set."""


class ConfigError(OpenVocabError):
    """A config file that cannot be read."""


def read_config_file(path: str | os.PathLike) -> Config:
    """``Config.fromfile``, which says in one line what is wrong with the file.

    Raises:
        ConfigError: A syntax error, a missing base, or another error of the file.
    """
    try:
        return Config.fromfile(path)
    except Exception as error:  # a config can do anything
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise ConfigError(f'The config {path} cannot be read: {reason}') from error


def require_model(cfg: Config) -> None:
    """Raise :class:`ConfigError` if a config has no model."""
    if not cfg.get('model'):
        raise ConfigError(f'The config {cfg.filename or ""} has no model')


def configs_folder() -> Path:
    """The folder of the shipped configs.

    Raises:
        UnknownConfigError: The installation has none.
    """
    for root in _ROOTS:
        if (root / '_base_').is_dir():
            return root
    raise UnknownConfigError(
        'This installation of mmseg_ovs has no configs: install it from a wheel or '
        'from a checkout'
    )


def shipped_models() -> dict[str, Path]:
    """Config files of the shipped models by name."""
    files = sorted(configs_folder().glob('*/*.py'))
    return {file.stem: file for file in files if file.parent.name != '_base_'}


def short_names() -> dict[str, str]:
    """Names of shipped models by the short ones in the metafiles."""
    from mmseg_ovs.benchmark.zoo import Zoo

    models = Zoo.read(configs_folder()).models.values()
    return {model.alias: model.name for model in models if model.alias}


def shipped_data() -> dict[str, Path]:
    """Config files of the shipped data sets by name, such as ``'ade20k-847'``."""
    files = sorted((configs_folder() / '_base_' / 'datasets').glob('*.py'))
    return {data_name(file): file for file in files}


def data_name(path: str | os.PathLike) -> str:
    """Name of a data set: the stem of its config file, with ``-`` for ``_``."""
    return Path(path).stem.replace('_', '-')


def find_config(name: str | os.PathLike) -> Path:
    """The config file of a model.

    Args:
        name: Path of a config file, or the name or short name of a shipped model, with
            or without ``.py``.

    Raises:
        UnknownConfigError: There is neither; the message has the nearest names.
    """
    path = Path(name)
    if path.is_file():
        return path
    models = shipped_models()
    stem = path.name.removesuffix('.py')
    if stem in models and _may_be_shipped(path, models[stem]):
        return models[stem]
    short = short_names()
    if stem in short and path.parent == Path('.'):
        return models[short[stem]]
    hint = did_you_mean(stem, [*short, *models])
    model, _, data = stem.rpartition('_')
    if model in models and data in shipped_data():
        hint = f' Did you mean the model {model} with --data {data}?'
    raise UnknownConfigError(
        f'{name} is neither a file nor the name of a model of mmseg_ovs.{hint} '
        'mmseg-ovs models lists them.'
    )


def find_data(name: str | os.PathLike) -> Path:
    """The config file of a data set.

    Args:
        name: Path of a config file, or the name of a shipped data set.

    Raises:
        UnknownConfigError: There is neither; the message has the nearest names.
    """
    path = Path(name)
    if path.is_file():
        return path
    data, stem = shipped_data(), data_name(name)
    if stem in data and _may_be_shipped(path, data[stem]):
        return data[stem]
    raise UnknownConfigError(
        f'{name} is neither a file nor the name of a data set of mmseg_ovs.'
        f'{did_you_mean(stem, data)} There are: {", ".join(data)}.'
    )


def _may_be_shipped(path: Path, shipped: Path) -> bool:
    """Whether a path without a file means the shipped one: by name or from configs/."""
    below = shipped.relative_to(configs_folder().parent)
    return path.parent == Path('.') or path.with_suffix('.py') == below


def did_you_mean(name: str, known: Iterable[str] | Mapping[str, object]) -> str:
    """`` Did you mean ...?`` with the nearest known names, or an empty text."""
    close = difflib.get_close_matches(name.lower(), list(known), n=3, cutoff=0.5)
    return f' Did you mean {" or ".join(close)}?' if close else ''
