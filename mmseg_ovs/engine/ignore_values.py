"""Whether all parts of a run mean the same by the label of unlabelled pixels.

Data sets, transforms, heads, losses, the data preprocessor and metrics each have their
own ``ignore_index``, and nothing in MMSegmentation compares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from torch import nn

from mmseg_ovs.datasets import LoadLabelMap, NounMasksDataset, OpenVocabSegDataset
from mmseg_ovs.utils import OpenVocabError

LARGEST = 65535
# What the label gets where a transform makes room, or what a loss leaves out.
_TRANSFORM_KEYS = ('ignore_index', 'seg_pad_val', 'seg_fill_in')
_LOSS_KEYS = ('ignore_index', 'ignore_label')


class IgnoreIndexError(OpenVocabError):
    """Parts of a run have different ignore values, or one that is a class."""


def check_ignore_values(dataset: object, key: str, others: Mapping[str, int]) -> None:
    """Compare the ignore values of a data set with those of what uses its labels.

    Args:
        dataset: The data set, possibly within wrappers. One without labels passes.
        key: Its key in the config.
        others: Values of other parts by config key.

    Raises:
        IgnoreIndexError: They differ, or are a class. Names the config keys.
    """
    values: dict[str, int] = {}
    num_classes = 0
    for inner, inner_key in _inner_datasets(dataset, key):
        values.update(_dataset_values(inner, inner_key))
        num_classes = max(num_classes, len(_classes(inner)))
    if not values:
        return
    reference, value = next(iter(values.items()))
    values.update(others)
    if value < num_classes:
        raise IgnoreIndexError(
            f'{reference}={value} is one of the {num_classes} classes: pixels of that '
            f'class would be ignored. Set to {LARGEST}: {", ".join(values)}'
        )
    odd = [f'{name}={v}' for name, v in values.items() if v != value]
    if odd:
        raise IgnoreIndexError(
            f'different labels for unlabelled pixels: {reference}={value}, but '
            f'{", ".join(odd)}. Give all of them the value that the label files have'
        )


def model_values(model: nn.Module) -> dict[str, int]:
    """Ignore values of the heads, their losses and the padding, by config key."""
    values = {}
    for part in ('decode_head', 'auxiliary_head'):
        for head, key in _modules(getattr(model, part, None), f'model.{part}'):
            value = getattr(head, 'ignore_index', None)
            if value is None:
                continue
            values[f'{key}.ignore_index'] = value
            # Some heads give their losses other targets than the labels.
            if getattr(head, 'loss_sees_labels', True):
                losses = _modules(
                    getattr(head, 'loss_decode', None), f'{key}.loss_decode'
                )
                for loss, loss_key in losses:
                    values.update(_attributes(loss, loss_key, _LOSS_KEYS))
    padding = getattr(model, 'data_preprocessor', None)
    if values:
        values.update(_attributes(padding, 'model.data_preprocessor', ('seg_pad_val',)))
    return values


def metric_values(metrics: Sequence[BaseMetric], key: str, cfg: Any) -> dict[str, int]:
    """Ignore values of metrics that score, by config key.

    Args:
        metrics: Of an evaluator.
        key: Its key in the config.
        cfg: Its config.
    """
    values = {}
    for i, metric in enumerate(metrics):
        if not getattr(metric, 'format_only', False):
            own = f'{key}.{i}' if isinstance(cfg, Sequence) else key
            values.update(_attributes(metric, own, ('ignore_index',)))
    return values


def _dataset_values(dataset: object, key: str) -> dict[str, int]:
    """Values of a data set and of the transforms of its pipeline."""
    if isinstance(dataset, NounMasksDataset):
        return {f'{key}: unknown pixels of noun masks': dataset.IGNORE_INDEX}
    values = _attributes(dataset, key, ('ignore_index',))
    if not values:
        return {}
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    for i, transform in enumerate(transforms):
        own = f'{key}.pipeline.{i}'
        found = _attributes(transform, own, _TRANSFORM_KEYS)
        if isinstance(transform, LoadLabelMap):
            if not found and not isinstance(dataset, OpenVocabSegDataset):
                # MMSegmentation's data sets do not tell the loader theirs.
                found = {f'{own}.ignore_index': 255}
        elif getattr(transform, 'cat_max_ratio', 0) == 1:
            found = {}  # RandomCrop does not look at the labels
        padding = getattr(transform, 'pad_val', None)
        if isinstance(padding, Mapping):
            found[f'{own}.pad_val.seg'] = padding.get('seg', 255)
        values.update(found)
    return values


def _inner_datasets(dataset: object, key: str) -> Iterator[tuple[object, str]]:
    """Data sets inside of wrappers, with their config keys."""
    inner = getattr(dataset, 'datasets', None)
    if inner is not None:
        for i, one in enumerate(inner):
            yield from _inner_datasets(one, f'{key}.datasets.{i}')
    elif getattr(dataset, 'dataset', None) is not None:
        yield from _inner_datasets(dataset.dataset, f'{key}.dataset')
    else:
        yield dataset, key


def _classes(dataset: object) -> Sequence[str]:
    return (getattr(dataset, 'metainfo', None) or {}).get('classes') or ()


def _modules(part: nn.Module | None, key: str) -> Iterator[tuple[nn.Module, str]]:
    if isinstance(part, nn.ModuleList):
        for i, module in enumerate(part):
            yield module, f'{key}.{i}'
    elif part is not None:
        yield part, key


def _attributes(owner: object, key: str, names: Sequence[str]) -> dict[str, int]:
    found = {name: getattr(owner, name, None) for name in names}
    return {f'{key}.{n}': v for n, v in found.items() if isinstance(v, int | float)}
