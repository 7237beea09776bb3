"""Whether the files of a config's data sets are there, before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_ovs.utils import OpenVocabError


class MissingDataError(OpenVocabError):
    """A data set is not there, or not all of it."""


class OutputError(OpenVocabError):
    """Results would become images of the data set."""


def check_data_files(cfg: Config, *parts: str) -> None:
    """Look for the folders and lists of a config's data sets.

    Args:
        cfg: The config.
        *parts: Which data: 'train', 'val' or 'test'. What the config lacks is left
            out.

    Raises:
        MissingDataError: One is not there. The message says where it was looked for,
            how to get it and which setting names another place.
    """
    for part in parts:
        dataset = (cfg.get(f'{part}_dataloader') or {}).get('dataset')
        if dataset:
            _check(dataset, f'{part}_dataloader.dataset')


def innermost_dataset(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """The (first) data set inside of wrappers such as ``ConcatDataset``."""
    return next(innermost_datasets(dataset))


def innermost_datasets(dataset: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All data sets inside of wrappers."""
    parts = dataset.get('datasets') or [dataset.get('dataset')]
    if parts == [None]:
        yield dataset
        return
    for part in parts:
        yield from innermost_datasets(part)


def check_outside_images(
    dataset: Mapping[str, Any], outputs: Mapping[str, str | None]
) -> None:
    """Refuse results in an image folder, where they would be images of the data set.

    Args:
        dataset: The config of a data set.
        outputs: Folder by option.

    Raises:
        OutputError: A folder is below one of images.
    """
    for part in innermost_datasets(dataset):
        folder = (part.get('data_prefix') or {}).get('img_path')
        if folder is None or '://' in folder:
            continue
        folder = Path(part.get('data_root') or '', folder).resolve()
        for option, output in outputs.items():
            if output and Path(output).resolve().is_relative_to(folder):
                raise OutputError(
                    f'{option} {output} is in the image folder {folder}, where results '
                    'would be taken for images: give another folder'
                )


def _check(dataset: Mapping[str, Any], key: str) -> None:
    if dataset.get('dataset'):  # of a wrapper
        _check(dataset['dataset'], f'{key}.dataset')
    for index, inner in enumerate(dataset.get('datasets') or ()):
        _check(inner, f'{key}.datasets.{index}')
    for path in _paths(dataset):
        if '://' not in path and not Path(path).exists():
            raise MissingDataError(
                f'{dataset.get("type")}: {path} is not there (looked for in '
                f'{Path.cwd()}). Check data_root and data_prefix; docs/datasets.md '
                'says how to get the benchmarks. If the data are elsewhere: '
                f'--cfg-options {key}.data_root=FOLDER'
            )


def _paths(dataset: Mapping[str, Any]) -> Iterator[str]:
    root = dataset.get('data_root') or ''
    if root:
        yield str(root)
    named = [dataset.get('ann_file'), *(dataset.get('data_prefix') or {}).values()]
    for name in named:
        if name:
            yield name if '://' in name else str(Path(root) / name)
