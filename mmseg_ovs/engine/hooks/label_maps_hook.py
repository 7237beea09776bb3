"""Predictions as label maps, for any metric and for data without labels."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_ovs.datasets.image_names import image_names
from mmseg_ovs.utils import replacing


@HOOKS.register_module()
class LabelMapsHook(Hook):
    """Write the prediction for each image of a test to ``out_dir/NAME.png``.

    NAME is the path of the image below the image folder, without suffix. Unlike
    mmseg's ``IoUMetric(output_dir=)``, which goes by the file name alone, images of the
    same name in two folders are both kept, and more than 255 classes give 16 bits. As
    there, labels are raised by 1 where the data set has ``reduce_zero_label``.
    ``tools/test.py --out`` adds this hook.

    Args:
        out_dir: The folder.
    """

    def __init__(self, out_dir: str | os.PathLike) -> None:
        self.out_dir = Path(out_dir)
        self._names: dict[str, str] = {}

    def before_test_epoch(self, runner: Runner) -> None:
        """Name the files."""
        dataset = runner.test_dataloader.dataset
        self._names = image_names(dataset)
        self._dtype = np.uint8 if len(dataset.metainfo['classes']) <= 255 else np.uint16

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Write those of a batch."""
        for sample in outputs or ():
            labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
            labels = labels + bool(sample.metainfo.get('reduce_zero_label'))
            file = self.out_dir / f'{self._names[sample.img_path]}.png'
            with replacing(file) as temporary:
                Image.fromarray(labels.astype(self._dtype)).save(temporary)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Say where they are."""
        runner.logger.info(f'Label maps in {self.out_dir}: {len(self._names)}')
