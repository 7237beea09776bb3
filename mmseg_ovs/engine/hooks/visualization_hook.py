"""Predictions as images, for data sets with folders in their image folder."""

from collections.abc import Sequence
from pathlib import PurePath

import mmcv
from mmengine import fileio
from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from mmseg_ovs.datasets.image_names import image_names


@HOOKS.register_module()
class OpenVocabVisualizationHook(SegVisualizationHook):
    """``SegVisualizationHook`` that keeps the folders of images, with its arguments.

    Images are called ``a/test_0001.png``, where mmseg drops the ``a/``, so that one
    image replaces another. They are read as :class:`CheckedImagesBackend` does.
    """

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict,
        outputs: Sequence[SegDataSample],
        mode: str = 'val',
    ) -> None:
        if not self.draw or mode == 'train':
            return
        if not self.every_n_inner_iters(batch_idx, self.interval):
            return
        names = self._names(runner, mode)
        for sample in outputs:
            content = fileio.get(
                sample.img_path,
                backend_args=self.backend_args or dict(backend='checked_images'),
            )
            name = PurePath(names[sample.img_path])
            suffix = PurePath(sample.img_path).suffix
            self._visualizer.add_datasample(
                (name.parent / f'{mode}_{name.name}{suffix}').as_posix(),
                mmcv.imfrombytes(content, channel_order='rgb'),
                data_sample=sample,
                show=self.show,
                wait_time=self.wait_time,
                step=runner.iter,
            )

    def _names(self, runner: Runner, mode: str) -> dict[str, str]:
        dataset = getattr(runner, f'{mode}_dataloader').dataset
        if getattr(self, '_named', None) is not dataset:
            self._named, self._known_names = dataset, image_names(dataset)
        return self._known_names
