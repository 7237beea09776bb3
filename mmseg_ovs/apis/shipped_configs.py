"""Configs by name: those of a checkout, or those a wheel carries."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# openmim's place in a wheel, and the checkout's.
_ROOTS = (_PACKAGE / '.mim' / 'configs', _PACKAGE.parent / 'configs')


class UnknownConfigError(FileNotFoundError):
    """There is no such config."""


def find_config(name: str | os.PathLike) -> Path:
    """The file of a config.

    Args:
        name: Path of a config file, or the name of a shipped one, with or without
            ``.py``.

    Raises:
        UnknownConfigError: There is neither; names the closest ones.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = {
        file.stem: file
        for root in _ROOTS
        for file in root.glob('*/*.py')
        if file.parent.name != '_base_'
    }
    stem = path.name.removesuffix('.py')
    if stem in shipped:
        return shipped[stem]
    close = difflib.get_close_matches(stem, shipped, n=3, cutoff=0.4)
    hint = f' Did you mean {" or ".join(close)}?' if close else ''
    raise UnknownConfigError(
        f'{name} is neither a file nor the name of a config of mmseg_ovs.{hint}'
    )
