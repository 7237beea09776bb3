"""Arguments that name a model and a data set, and the config that they give."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config

from mmseg_ovs.utils import exit_with_message

from .compose import TRAINING_KEYS, compose
from .data_files import check_data_files
from .names import find_config, read_config_file, require_model, shipped_data
from .options import ConfigOptions, apply_options, runner_keys

# What a command that builds a model, and no runner, reads of a config.
MODEL_KEYS = ('model', 'custom_imports')


def add_config_arguments(
    parser: argparse.ArgumentParser, config: str = 'config', **settings: object
) -> None:
    """Add ``config``, ``--data`` and ``--cfg-options`` to a command.

    Args:
        parser: The command's.
        config: How the first is called; with dashes it is an option.
        **settings: Of the first argument.
    """
    text = 'name of a model or path of a config'
    parser.add_argument(config, **{'help': text, **settings})
    parser.add_argument(
        '--data',
        metavar='DATA',
        help='data set: name, such as voc21, or path of its config; replaces the data '
        'set in the config',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        default={},
        metavar='KEY=VALUE',
        help='override settings of the config; write lists as "[a, b]" or a,b',
    )


def add_allow_random(parser: argparse.ArgumentParser) -> None:
    """Add ``--allow-random`` to a command that otherwise refuses random weights."""
    parser.add_argument(
        '--allow-random',
        action='store_true',
        help='run a model with parts that no file gives weights, for its shapes and '
        'times: the results are noise',
    )


def read_config(
    args: argparse.Namespace, train: bool = False, read: Iterable[str] | None = None
) -> Config:
    """The config that the arguments of :func:`add_config_arguments` give.

    Args:
        args: Of the command line.
        train: Whether the model is trained on the data set.
        read: See :func:`apply_options`.

    Raises:
        SystemExit: In one line, what is wrong with them.
    """
    with exit_with_message():
        if args.data is None:
            cfg = read_config_file(find_config(args.config))
        else:
            cfg = compose(args.config, args.data, train)
        if read is None or 'model' in read:
            require_model(cfg)
        if read is None and not train:
            read = runner_keys() - set(TRAINING_KEYS)
        apply_options(cfg, args.cfg_options, read)
    return cfg


def require_data(cfg: Config, part: str) -> None:
    """End a command whose config lacks data of a kind, or whose data are not there.

    Args:
        cfg: The config.
        part: 'train', 'val' or 'test'.

    Raises:
        SystemExit: In one line, what is missing and what to do about it.
    """
    if not cfg.get(f'{part}_dataloader'):
        raise SystemExit(
            f'error: {Path(cfg.filename).stem} is a model without data ({part}): name '
            f'a data set with --data. There are: {", ".join(_data_with(part))}'
        )
    with exit_with_message():
        check_data_files(cfg, part)


def _data_with(part: str) -> list[str]:
    """Names of the shipped data sets that can be trained on or tested."""
    return [
        name
        for name, file in shipped_data().items()
        if Config.fromfile(file).get(f'{part}_dataloader')
    ]
