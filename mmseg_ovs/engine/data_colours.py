"""The colours that a config's test data has for its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, HOOKS

from mmseg_ovs.composition.data_files import innermost_dataset


def data_colours(cfg: Config) -> dict[str, Sequence[int]]:
    """Colours ``(R, G, B)`` of 0..255 by the names of classes.

    Names are those of the data set and, label by label, those that the config's
    ``VocabularyHook`` gives to the model instead. Data without colours of its own gives
    none.
    """
    dataset = innermost_dataset((cfg.get('test_dataloader') or {}).get('dataset') or {})
    if not dataset.get('type'):
        return {}
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    kind = dataset['type']
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    own = getattr(kind, 'METAINFO', {})
    metainfo = {**own, **(dataset.get('metainfo') or {})}
    colours = {**colours_of(own), **colours_of(metainfo)}
    hook = (cfg.get('default_hooks') or {}).get('vocabulary') or {}
    if colours_of(metainfo) and hook.get('vocabulary') is not None:
        hook = HOOKS.build({'type': 'VocabularyHook', **hook})
        words = hook.evaluated_vocabulary(metainfo).classes
        colours.update(colours_of(dict(metainfo, classes=words)))
    return colours


def colours_of(metainfo: Mapping[str, Any]) -> dict[str, Sequence[int]]:
    """The colours of a data set by class; none if there is not one for each."""
    classes, palette = metainfo.get('classes'), metainfo.get('palette')
    if not isinstance(classes, Sequence) or not palette or len(classes) != len(palette):
        return {}
    return dict(zip(classes, palette, strict=True))
