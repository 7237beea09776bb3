"""From which checkpoint a training goes on."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_ovs.models.utils import CheckpointError

_NAME = re.compile(r'(?:iter|epoch)_(\d+)\.pth')


def resume_training(cfg: Config, options: Mapping[str, Any] | None = None) -> None:
    """Let the training of a config go on from the latest checkpoint of its work folder.

    Where there is none it starts as if for the first time. mmengine on its own goes on
    from the config's ``load_from`` if there is one, so that what was trained since is
    lost.

    Args:
        cfg: Its ``resume`` and ``load_from`` are set.
        options: Settings of the command line. A ``load_from`` among them is the
            checkpoint to go on from.

    Raises:
        CheckpointError: See :func:`latest_checkpoint`.
    """
    given = (options or {}).get('load_from')
    latest = given or latest_checkpoint(cfg.work_dir)
    cfg.resume = latest is not None
    if latest is not None:
        cfg.load_from = latest


def latest_checkpoint(folder: str | os.PathLike) -> str | None:
    """The checkpoint that the training in a work folder wrote last, None if none.

    That is the one named by ``last_checkpoint``, wherever the folder was moved to.
    Where this file is missing or empty (mmengine was killed while it wrote it), it is
    the whole one of the highest number.

    Raises:
        CheckpointError: The named one is missing or truncated. The message names the
            last whole one.
    """
    folder = Path(folder)
    found = {
        int(match[1]): path
        for path in folder.glob('*_*.pth')
        if (match := _NAME.fullmatch(path.name)) and zipfile.is_zipfile(path)
    }
    whole = str(found[max(found)]) if found else None
    pointer = folder / 'last_checkpoint'
    named = pointer.read_text().strip() if pointer.is_file() else ''
    if not named:
        return whole
    if '://' in named:
        return named
    for path in (Path(named), folder / Path(named).name):
        # Sharded checkpoints are folders.
        if path.is_dir() or zipfile.is_zipfile(path):
            return str(path)
    hint = 'and no other checkpoint there is whole: start without --resume'
    if whole:
        hint = (
            f'the last whole one is {whole}: --resume --cfg-options load_from={whole}'
        )
    raise CheckpointError(
        f'{pointer} names {named}, which is missing or truncated; {hint}'
    )
