"""The labels of a config's test data, at the size of their images."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
from mmcv.transforms import LoadAnnotations
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_ovs.composition.compose import is_transform
from mmseg_ovs.composition.data_files import innermost_datasets
from mmseg_ovs.datasets.image_names import image_names
from mmseg_ovs.datasets.transforms import LoadLabelMap
from mmseg_ovs.utils import OpenVocabError

_READER = LoadLabelMap(check_values=False, ignore_index=65535)


class LabelMaps:
    """Reads labels as a test does, and nothing else of the data set.

    Args:
        cfg: With ``test_dataloader``.

    Attributes:
        classes: Names of the classes.
        names: Name of each image, as ``tools/test.py --out`` calls its result.
        paths: Of the images.
        ignore_index: Label of unlabelled pixels.

    Raises:
        OpenVocabError: The data have no labels.
    """

    def __init__(self, cfg: Config) -> None:
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        dataset = copy.deepcopy(cfg.test_dataloader.dataset)
        for part in innermost_datasets(dataset):
            steps = part['pipeline']
            part['pipeline'] = [s for s in steps if is_transform(s, LoadAnnotations)]
            if not part['pipeline']:
                raise OpenVocabError(
                    f'The test pipeline of {part["type"]} loads no labels: there is '
                    'nothing to compare with'
                )
        self._dataset = DATASETS.build(dataset)
        self.classes = tuple(self._dataset.metainfo['classes'])
        self.ignore_index = getattr(self._dataset, 'ignore_index', 255)
        names = image_names(self._dataset)
        self.paths, self.names = list(names), list(names.values())

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        """Label map (H, W).

        Raises:
            OpenVocabError: The image has no label file.
        """
        labels = self._dataset[index].get('gt_seg_map')
        if labels is None:
            raise OpenVocabError(f'{self.paths[index]} has no label')
        return labels

    def prediction(self, folder: Path, index: int) -> np.ndarray:
        """What ``tools/test.py --out`` wrote for an image, labels (H, W).

        Raises:
            OpenVocabError: There is no such file.
        """
        path = folder / f'{self.names[index]}.png'
        if not path.is_file():
            raise OpenVocabError(
                f'{path} is not there: write the predictions of this data set with '
                f'tools/test.py --out {folder}'
            )
        info = self._dataset.get_data_info(index)
        item = dict(seg_map_path=str(path), seg_fields=[])
        item['reduce_zero_label'] = info.get('reduce_zero_label', False)
        return _READER(item)['gt_seg_map']
