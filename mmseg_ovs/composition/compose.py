"""A model's config and a data set's, composed at run time.

The data set's config (``configs/_base_/datasets``) has data loaders and evaluators. The
model's config has everything else, and says in two tables what a data set changes for
it::

    data_overrides = {'voc21': dict(model=dict(postprocessors=[...]))}
    train_overrides = {'coco-captions': dict(schedule='talk2dino_100e')}

``data_overrides`` holds in tests and in training, ``train_overrides`` in training. Its
``schedule`` names a file of ``configs/_base_/schedules``. Images are resized as the
model's ``test_pipeline`` says, whatever the data set's own pipeline does; a table may
hold another ``test_pipeline`` for a data set.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcv.transforms import LoadAnnotations, LoadImageFromFile, Resize
from mmengine.config import Config
from mmseg.datasets.transforms import ResizeShortestEdge
from mmseg.registry import TRANSFORMS

from mmseg_ovs.utils import OpenVocabError

from .names import (
    configs_folder,
    data_name,
    find_config,
    find_data,
    read_config_file,
)

# What a test does not need; a runner wants all of a kind or none.
TRAINING_KEYS = (
    *('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'),
    *('val_dataloader', 'val_cfg', 'val_evaluator', 'auto_scale_lr'),
)
_TABLES = ('data_overrides', 'train_overrides')
_NOT_OF_DATA = ('model', 'default_hooks', 'custom_hooks', 'custom_imports', *_TABLES)


class CompositionError(OpenVocabError):
    """A model and a data set that cannot be composed; the message says why."""


def compose(
    model: str | os.PathLike, data: str | os.PathLike, train: bool = False
) -> Config:
    """The config of a model on a data set.

    Args:
        model: Name of a shipped model, or path of its config. Data that it names
            itself is replaced.
        data: Name of a shipped data set, or path of its config.
        train: Whether the model is trained on it. A test needs neither training data
            nor a schedule, and gets none.

    Raises:
        UnknownConfigError: There is no such model or data set.
        CompositionError: The data set has no data of this kind, or its config sets
            what belongs to a model.
    """
    model_file, data_file = find_config(model), find_data(data)
    name = data_name(data_file)
    cfg, data_cfg = read_config_file(model_file), read_config_file(data_file)
    _check_data(data_cfg, data_file, train)
    content, data_content = cfg.to_dict(), data_cfg.to_dict()
    tables = [content.pop(key, {}).get(name, {}) for key in _TABLES]
    changes, training = (copy.deepcopy(table) for table in tables)
    if not train:
        for key in TRAINING_KEYS:
            content.pop(key, None)
        for key in ('train_dataloader', 'train_pipeline'):
            data_content.pop(key, None)
    for part in ('train', 'val', 'test'):
        for kind in ('dataloader', 'evaluator'):
            content.pop(f'{part}_{kind}', None)
    if not data_content.get('val_dataloader'):
        content.pop('val_cfg', None)
    pipeline = changes.pop('test_pipeline', content.get('test_pipeline'))
    if pipeline:
        content['test_pipeline'] = pipeline
        resize_as(_image_transforms(pipeline), data_content)
    content.update(data_content)
    for part, loop in (('val', 'ValLoop'), ('test', 'TestLoop')):
        if content.get(f'{part}_dataloader'):
            content.setdefault(f'{part}_cfg', dict(type=loop))
    if train:
        schedule = _schedule(training.pop('schedule', None), model_file.stem)
        content = merge(content, schedule)
        changes = merge(changes, training)
    # Where validation and test are the same evaluation, they stay so.
    one_evaluator = content.get('val_evaluator') == content.get('test_evaluator')
    content = merge(content, changes)
    if one_evaluator and 'val_evaluator' in content:
        content['val_evaluator'] = copy.deepcopy(content['test_evaluator'])
    title = f'{model_file.stem}_{name}'
    composed = Config(content, cfg_text=f'# {title}\n', filename=f'{title}.py')
    if train and 'train_cfg' not in composed:
        raise CompositionError(
            f'{model_file.stem} has no schedule for {name}: give train_overrides = '
            f"{{'{name}': dict(schedule=NAME)}} in its config, with a name of "
            f'configs/_base_/schedules'
        )
    return composed


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge changes into a config as MMEngine merges a config into its base.

    A dict with a ``type`` that meets a list is merged into the entries of the list that
    have the same type: one metric among several.

    Raises:
        CompositionError: The list has no entry of that type.
    """
    base, changes = copy.deepcopy(dict(base)), copy.deepcopy(dict(changes))
    for key, value in changes.items():
        entries = base.get(key)
        if isinstance(entries, list) and isinstance(value, dict):
            kinds = [entry['type'] for entry in entries]
            if value.get('type') not in kinds:
                raise CompositionError(
                    f'{key} has no entry of type {value.get("type")!r}, only {kinds}'
                )
            changes[key] = [
                merge(entry, value) if entry['type'] == value['type'] else entry
                for entry in entries
            ]
    cfg = Config(base)
    cfg.merge_from_dict(changes)
    return cfg.to_dict()


def _check_data(cfg: Config, path: Path, train: bool) -> None:
    wrong = [key for key in _NOT_OF_DATA if key in cfg]
    if wrong:
        raise CompositionError(
            f'{path} sets {wrong[0]}: the config of a data set has data loaders and '
            'evaluators only'
        )
    wanted = ('train_dataloader',) if train else ('test_dataloader', 'test_evaluator')
    lacking = [key for key in wanted if not cfg.get(key)]
    if lacking:
        purpose = 'trained on' if train else 'tested on'
        raise CompositionError(
            f'No model can be {purpose} {data_name(path)}: {path} has no '
            f'{" and no ".join(lacking)}'
        )


def _schedule(name: str | None, model: str) -> dict[str, Any]:
    if name is None:
        return {}
    path = configs_folder() / '_base_' / 'schedules' / f'{name}.py'
    if not path.is_file():
        known = ', '.join(sorted(p.stem for p in path.parent.glob('*.py')))
        raise CompositionError(f'{model}: no schedule {name!r}; there are: {known}')
    return read_config_file(path).to_dict()


def is_transform(transform: Mapping[str, Any], kind: type | tuple[type, ...]) -> bool:
    """Whether the config of a transform is of a class or a subclass of it."""
    found = transform['type']
    found = TRANSFORMS.get(found) if isinstance(found, str) else found
    return isinstance(found, type) and issubclass(found, kind)


def is_resize(transform: Mapping[str, Any]) -> bool:
    """Whether a transform brings images to a size."""
    return is_transform(transform, (Resize, ResizeShortestEdge))


def _image_transforms(pipeline: list[dict]) -> list[dict]:
    """What a model's own pipeline does between loading an image and packing it."""
    others = (LoadImageFromFile, LoadAnnotations)
    return [
        transform for transform in pipeline[:-1] if not is_transform(transform, others)
    ]


def resize_as(transforms: list[dict], content: dict[str, Any]) -> None:
    """Put a model's transforms in the place of the resizing of test data.

    Args:
        transforms: What comes between loading an image and the rest of a pipeline.
        content: A data loader or a whole config; changed in place.
    """
    for key, value in content.items():
        if key in ('test_pipeline', 'pipeline'):
            kept = [t for t in value if not is_resize(t)]
            loaders = [t for t in kept if is_transform(t, LoadImageFromFile)]
            rest = [t for t in kept if not is_transform(t, LoadImageFromFile)]
            content[key] = copy.deepcopy([*loaders, *transforms, *rest])
        elif key in ('val_dataloader', 'test_dataloader', 'dataset'):
            resize_as(transforms, value)
        elif key == 'datasets':
            for part in value:
                resize_as(transforms, part)
