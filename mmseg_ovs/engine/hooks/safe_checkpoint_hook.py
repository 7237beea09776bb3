"""Checkpoints that survive a kill at any moment and a full disk."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_ovs.utils import remove_leftovers, replacing

_BACKEND = 'whole_files'


@register_backend(_BACKEND)
class WholeFilesBackend(LocalBackend):
    """Local files that are written whole, and removed only when told again.

    mmengine writes into the file that will be read, and removes an old checkpoint
    before it writes the new one.
    """

    def __init__(self) -> None:
        self._outdated: list[tuple[str, int]] = []

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Write bytes, whole or not at all.

        Raises:
            OSError: The file cannot be written; what was there before is untouched.
        """
        with replacing(filepath) as temporary:
            temporary.write_bytes(obj)

    def remove(self, filepath: str | os.PathLike) -> None:
        """Note a file, for :meth:`remove_outdated`."""
        self._outdated.append((os.fspath(filepath), os.stat(filepath).st_ino))

    def remove_outdated(self) -> None:
        """Remove the noted files, unless a new one has taken the place."""
        for path, inode in self._outdated:
            if os.path.exists(path) and os.stat(path).st_ino == inode:
                os.remove(path)
        self._outdated.clear()


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` with the same arguments, safe to be killed.

    A checkpoint in the work folder is always whole. An old one (``max_keep_ckpts``,
    ``save_best``) is removed when the new one is on the disk, which so needs room for
    one more. A full disk ends the training with an error that names the file, and what
    was saved before stays. What a killed run left unfinished is removed at the start of
    the next. Folders that are no local ones (``s3://``) are written as mmengine does.
    """

    def before_train(self, runner: Runner) -> None:
        """Look where checkpoints go; remove what a killed run left unfinished."""
        super().before_train(runner)
        if isinstance(self.file_backend, LocalBackend):
            self.backend_args = dict(backend=_BACKEND)
            self.file_backend = WholeFilesBackend()
            if is_main_process() and Path(self.out_dir).is_dir():
                remove_leftovers(Path(self.out_dir))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        self._remove_outdated()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        if isinstance(self.file_backend, WholeFilesBackend):
            self.file_backend.remove_outdated()
