"""``models`` lists the shipped models; ``fetch`` gets the weights of one."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import Counter
from pathlib import Path

import torch

from mmseg_ovs.benchmark.zoo import Zoo
from mmseg_ovs.composition.names import (
    configs_folder,
    find_config,
    read_config_file,
    require_model,
)
from mmseg_ovs.models.utils import parts_at_random
from mmseg_ovs.models.utils.outline import outline_model
from mmseg_ovs.utils import exit_with_message

from .address import HUB
from .catalogue import catalogue
from .download import DownloadError
from .files import ABSENT, HERE, WeightFile, weight_files


@exit_with_message()
def list_models(argv: list[str]) -> int:
    """Print a line for each model; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog='mmseg-ovs models',
        description='The shipped models: short name, method class, parameters, licence '
        'of the weights, and whether they can be used on this machine. Asks no server.',
    )
    parser.add_argument(
        'pattern', nargs='?', default='', help='only names and methods with this in it'
    )
    args = parser.parse_args(argv)
    counts: Counter[str] = Counter()
    for item in catalogue(args.pattern):
        model, detail = item.model, f': {item.detail}' if item.detail else ''
        short = f' = {model.alias}' if model.alias else ''
        size = '?' if item.parameters is None else f'{item.parameters / 1e6:.1f} M'
        print(
            f'{model.name}{short}\n    {item.state}{detail}\n'
            f'    {model.method_class}, {size} parameters, weights: {model.weights}',
            flush=True,
        )
        counts[item.state] += 1
    states = ', '.join(f'{count} {state}' for state, count in counts.most_common())
    print(f'{counts.total()} models: {states}. Weights of one: mmseg-ovs fetch NAME')
    return 0 if counts else 1


@exit_with_message()
def fetch(argv: list[str]) -> int:
    """Download the weights of a model; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog='mmseg-ovs fetch',
        description='Download the weights of a model. All files are looked at first; '
        'an interrupted download goes on where it stopped. The exit code is 1 if '
        'something is missing in the end.',
    )
    parser.add_argument('model', help='name of a model or path of a config')
    args = parser.parse_args(argv)
    path = find_config(args.model)
    cfg = read_config_file(path)
    require_model(cfg)
    model = Zoo.read(configs_folder()).models.get(path.stem)
    if model is not None:
        print(f'{model.name}, licence of the weights: {model.weights}')

    missing, todo = _look(weight_files(cfg))
    _check_room([size for _, size in todo if size])
    for file, _ in todo:
        try:
            print(f'{file.part}: {file.fetch()}')
        except DownloadError as error:
            missing.append((file, str(error)))
    for file, reason in missing:
        print(_by_hand(file, reason), file=sys.stderr)
    outline = outline_model(cfg.model, cfg.get('default_scope', 'mmseg'))
    random = parts_at_random(outline, loaded=bool(cfg.get('load_from')))
    if random:
        published = model is not None and model.has_weights
        print(
            f'{", ".join(random)}: the config names no weights. '
            + (
                f'Get a checkpoint as {model.collection["README"]} says, and give it'
                if published
                else 'Train the model, and give its checkpoint'
            )
            + ' with --checkpoint',
            file=sys.stderr,
        )
    if not (missing or random):
        print(f'{path.stem} can be used')
    return 1 if missing or random else 0


def _look(
    files: list[WeightFile],
) -> tuple[list[tuple[WeightFile, str]], list[tuple[WeightFile, int | None]]]:
    """Say what is known of all files: those that cannot be had, those to download."""
    missing, todo = [], []
    for file in files:
        state, note = file.state, ''
        try:
            if state == HERE:
                file.check()
                note = str(file.path)
            elif state == ABSENT:
                missing.append((file, f'there is no file {file.address}'))
                note = file.address
            else:
                size = file.ask()
                todo.append((file, size))
                note = f'{file.url} ({_megabytes(size)})'
        except DownloadError as error:
            state, note = 'cannot be had', 'see below'
            missing.append((file, str(error)))
        print(f'  {file.part}: {state}, {note}', flush=True)
    return missing, todo


def _megabytes(size: int | None) -> str:
    return 'size unknown' if size is None else f'{size / 1e6:,.1f} MB'


def _check_room(sizes: list[int]) -> None:
    """Refuse what does not fit on the disk before the first byte.

    Raises:
        DownloadError: It does not.
    """
    folder = Path(torch.hub.get_dir()).absolute()
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if sum(sizes) > free:
        raise DownloadError(
            f'{_megabytes(sum(sizes))} are to be downloaded and '
            f'{_megabytes(free)} are free: make room, or set TORCH_HOME and HF_HOME to '
            'folders of another disk'
        )


def _by_hand(file: WeightFile, reason: str) -> str:
    """What to do about a file that could not be had."""
    lines = [f'{file.part}: {reason}', f'    from: {file.source}']
    if not file.address.startswith(HUB):
        lines.append(f'    to:   {file.path.absolute()}')
    lines.append(f'    or:   --cfg-options {file.option}=FILE')
    return '\n'.join(lines)
