"""Actions of ``argparse`` that check a value before anything is loaded.

They raise :class:`OpenVocabError` where ``argparse`` would print the usage as well.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from .errors import OpenVocabError


class ArgumentError(OpenVocabError):
    """A value of the command line that cannot work."""


class Device(argparse.Action):
    """A device of PyTorch, such as ``cpu`` or ``cuda:0``, that this machine has."""

    def __call__(self, parser, namespace, value, option_string=None) -> None:
        """Check and set."""
        check_device(value)
        setattr(namespace, self.dest, value)


class OutputFolder(argparse.Action):
    """A folder that exists or can be made, and in which files can be written."""

    def __call__(self, parser, namespace, value, option_string=None) -> None:
        """Check and set."""
        check_output_folder(value, option_string)
        setattr(namespace, self.dest, value)


class OutputFile(argparse.Action):
    """A file that exists or can be made."""

    def __call__(self, parser, namespace, value, option_string=None) -> None:
        """Check and set."""
        path = Path(value).expanduser()
        if path.is_dir():
            raise ArgumentError(f'{option_string}: {value} is a folder; name a file')
        check_output_folder(path.parent, option_string)
        setattr(namespace, self.dest, value)


def check_device(device: str | torch.device) -> None:
    """Look for a device.

    Raises:
        ArgumentError: It is not a device of PyTorch, or this machine lacks it.
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ArgumentError(
            f'device {device!r} is not one of PyTorch: give cpu, cuda or cuda:0'
        ) from error
    if found.type != 'cuda':
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise ArgumentError(f'device {device}: PyTorch finds no GPU here; give cpu')
    if found.index is not None and found.index >= count:
        raise ArgumentError(f'device {device}: there are {count} GPUs, from cuda:0 on')


def check_output_folder(folder: str | os.PathLike, option: str = 'output') -> None:
    """Look whether results can be written to a folder, which may not exist yet.

    Raises:
        ArgumentError: It or a folder above it is a file, or may not be written to.
    """
    folder = Path(folder).expanduser()
    nearest = folder
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise ArgumentError(f'{option}: {nearest} is a file, and a folder is needed')
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ArgumentError(f'{option}: no permission to write to {nearest}')
