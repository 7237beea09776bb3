"""What every data set of this package adds to mmseg's ``BaseSegDataset``."""

from __future__ import annotations

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from .sample_errors import NamesFailingSample


@DATASETS.register_module()
class OpenVocabSegDataset(NamesFailingSample, BaseSegDataset):
    """``BaseSegDataset`` whose samples tell the loader how to read their labels.

    Every sample carries ``num_classes`` and ``ignore_index``, so that
    :class:`LoadLabelMap` needs no arguments. Classes which a subset in
    ``metainfo['classes']`` leaves out are sent to ``ignore_index``; mmseg writes
    255 there, which is a real class when there are more than 255 of them.

    ``metainfo`` may carry ``seen_classes`` (names of the classes met in training)
    and ``groups`` (name to list of class names) for :class:`OpenVocabIoUMetric`.
    """

    def get_data_info(self, idx: int) -> dict:
        """One sample's record, with ``num_classes`` and ``ignore_index``."""
        info = super().get_data_info(idx)
        info['num_classes'] = len(self.metainfo['classes'])
        info['ignore_index'] = self.ignore_index
        if self.label_map is not None:
            kept = {name: i for i, name in enumerate(self.metainfo['classes'])}
            info['label_map'] = {
                i: kept.get(name, self.ignore_index)
                for i, name in enumerate(self.METAINFO['classes'])
            }
        return info
