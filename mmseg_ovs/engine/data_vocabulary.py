"""The classes of a config's test data, without its files."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, HOOKS

from mmseg_ovs.composition.data_files import innermost_dataset
from mmseg_ovs.structures import Vocabulary


def data_vocabulary(cfg: Config) -> Vocabulary:
    """What a test of the config gives to the model as its vocabulary.

    That is the classes of the data set, with the words and the background rule of the
    config's ``VocabularyHook``.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    dataset = innermost_dataset(cfg.test_dataloader.dataset)
    dataset = {**dataset, 'pipeline': [], 'lazy_init': True}
    try:
        metainfo = DATASETS.build(dataset).metainfo
    except AssertionError:  # mmseg's VOC and Context look for their list of images
        own = DATASETS.get(dataset['type']).METAINFO
        metainfo = {**own, **dataset.get('metainfo', {})}
    hook = cfg.get('default_hooks', {}).get('vocabulary') or {}
    hook = HOOKS.build({'type': 'VocabularyHook', **hook})
    return hook.evaluated_vocabulary(metainfo)
