"""What makes two runs the same: config, weights and data, by content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_ovs.composition import MissingDataError, check_data_files
from mmseg_ovs.evaluation.protocol import versions
from mmseg_ovs.jobs import file_digest, sha256

# They change how fast a test is, or where it writes, and not what comes out.
_NEUTRAL = {
    *('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor'),
    *('work_dir', 'launcher', 'cache_dir', 'vis_backends', 'visualizer'),
    *('resume', 'log_level', 'env_cfg', 'chunk_mb', 'window_batch_size'),
}


@dataclass(frozen=True)
class DataState:
    """A data set on disk.

    Attributes:
        images: Number of samples.
        digest: SHA-256 over names and contents of all images and labels.
    """

    images: int
    digest: str


def data_state(cfg: Config) -> DataState:
    """Look at every file of a config's test data.

    Raises:
        MissingDataError: A folder, a list or a file is missing; the message says which.
    """
    data = cfg.test_dataloader.dataset
    check_data_files(cfg, 'test')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    try:
        dataset = DATASETS.build({**data, 'pipeline': []})
    except FileNotFoundError as error:
        raise MissingDataError(str(error)) from error
    files = []
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        paths = (info['img_path'], info.get('seg_map_path'))
        files += [Path(path) for path in paths if path]
    if not files:
        raise MissingDataError(f'{data.get("data_root")} has no images')
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise MissingDataError(
            f'{len(missing)} of {len(files)} files are missing, such as {missing[0]}'
        )
    root = Path(data.get('data_root') or '.')
    lines = []
    for path in files:
        name = path.relative_to(root) if path.is_relative_to(root) else path
        lines.append(f'{name.as_posix()} {_digest(path)}\n')
    return DataState(len(dataset), sha256(*lines))


def run_key(cfg: Config, data: DataState) -> str:
    """SHA-256 of all that a result depends on.

    That is the config; the contents of all files it names, such as weights and
    vectors (of a URL only the address); the data; the versions of the libraries.
    """
    plain = _without_neutral(cfg.to_dict())
    files = {
        name: _digest(Path(name))
        for name in sorted(set(_strings(plain)))
        if _is_file(name)
    }
    content = dict(
        cfg=plain, files=files, data=data.digest, versions=versions().split(', ')
    )
    return sha256(json.dumps(content, sort_keys=True, default=str))


def _digest(path: Path) -> str:
    """SHA-256 of a file, read once in a process unless it changes."""
    stat = path.stat()
    return _digest_once(path, stat.st_size, stat.st_mtime_ns)


@cache
def _digest_once(path: Path, size: int, modified: int) -> str:
    return file_digest(path)


def _without_neutral(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(k): _without_neutral(v) for k, v in value.items() if k not in _NEUTRAL
        }
    if isinstance(value, list | tuple):
        return [_without_neutral(item) for item in value]
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # a text too long for a path
        return False
