"""What every segmentor with a vocabulary does, whatever its parts are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NoReturn

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.utils import OptSampleList, SampleList
from torch import Tensor, nn

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.structures.seen_names import trained_names
from mmseg_ovs.utils import OpenVocabError
from mmseg_ovs.visualization.palette import make_palette

from ..postprocessors import GridPostProcessor, ImagePostProcessor
from .inference import WindowedInference
from .local_global import FeatureAggregation, LogitsAggregation
from .settings import InferenceCfg, read_settings
from .temporal import Temporal


class VocabularySegmentor:
    """Takes a vocabulary at each call, and segments batches of any sizes.

    A mixin in front of a segmentor of MMSegmentation, which sets the attributes and has
    ``decode_head``, ``test_cfg``, ``data_preprocessor`` and ``project_vocabulary``.

    Attributes:
        vocabulary: The default vocabulary.
        trained_names: Names met in training, as far as they are known: those of the
            training data that run, or that the checkpoint stores.
        postprocessors: Modules that work on scores.
        window_bytes: Measured, see :class:`WindowBatches`.
    """

    vocabulary: Vocabulary | None
    trained_names: tuple[str, ...] = ()
    postprocessors: nn.ModuleList
    window_bytes: dict[Hashable, int]

    def half(self) -> NoReturn:
        """Refused; see :meth:`to`."""
        return self.to(torch.half)

    def bfloat16(self) -> NoReturn:
        """Refused; see :meth:`to`."""
        return self.to(torch.bfloat16)

    def to(self, *args, **kwargs) -> nn.Module:
        """As in torch, but weights stay in single precision or better.

        Raises:
            OpenVocabError: A lower precision is asked for.
        """
        wanted = [x for x in (*args, *kwargs.values()) if isinstance(x, torch.dtype)]
        if {torch.half, torch.bfloat16}.intersection(wanted):
            raise OpenVocabError(
                'The weights stay float32: images, text vectors and scores do. To '
                'compute in bfloat16 use --bf16, in Python accelerate(model, '
                'bf16=True) of mmseg_ovs.acceleration; to train in half precision, '
                'tools/train.py --amp'
            )
        return super().to(*args, **kwargs)

    def set_vocabulary(self, vocabulary: object) -> Vocabulary:
        """Set the default vocabulary, for training and for calls that name none.

        Args:
            vocabulary: Anything that :meth:`Vocabulary.build` takes: a vocabulary, a
                list of names, the name of a shipped vocabulary, a file, or a dict with
                synonyms and background.

        Returns:
            The vocabulary.
        """
        self.vocabulary = Vocabulary.build(vocabulary)
        count = self.vocabulary.num_classes
        self.num_classes = self.out_channels = count
        self.decode_head.num_classes = self.decode_head.out_channels = count
        return self.vocabulary

    @property
    def dataset_meta(self) -> dict | None:
        """Class names and colours, where mmseg's own inference API looks for them.

        That API assigns the classes a checkpoint was trained on: a model which has no
        vocabulary yet takes them as its first.
        """
        if self.vocabulary is None:
            return None
        classes = self.vocabulary.classes
        return dict(classes=classes, palette=make_palette(classes))

    @dataset_meta.setter
    def dataset_meta(self, metainfo: Mapping | None) -> None:
        self.remember_training(metainfo)
        if self.vocabulary is None and metainfo and metainfo.get('classes'):
            self.set_vocabulary(Vocabulary.from_metainfo(metainfo))

    def remember_training(self, metainfo: Mapping | None) -> None:
        """Note what names the data set of a training has, for ``seen_handicap``.

        Args:
            metainfo: That of the data set; checkpoints store it as ``dataset_meta``.
        """
        self.trained_names = trained_names(metainfo)

    def _given_or_default(self, vocabulary: object | None) -> Vocabulary:
        if vocabulary is not None:
            return Vocabulary.build(vocabulary)
        if self.vocabulary is None:
            raise RuntimeError(
                'The model has no vocabulary yet: name one in the call, call '
                "model.set_vocabulary([...]), add dict(type='VocabularyHook') to "
                'custom_hooks so that it comes from the data set, or give '
                'model.vocabulary in the config'
            )
        return self.vocabulary

    def image_postprocessors(self, stage: str) -> list[ImagePostProcessor]:
        """Post-processors that refine maps with the image at a stage."""
        return [
            p
            for p in self.postprocessors
            if isinstance(p, ImagePostProcessor) and p.stage == stage
        ]

    def denormalize(self, image: Tensor) -> Tensor:
        """The RGB images (..., 3, H, W), 0..255, behind normalised ones."""
        if not getattr(self.data_preprocessor, '_enable_normalize', False):
            return image
        return image * self.data_preprocessor.std + self.data_preprocessor.mean

    def inference_cfg(self, **test_cfg) -> InferenceCfg:
        """``test_cfg`` with the settings of a call.

        Raises:
            ValueError: A key is unknown, or a value does not fit.
        """
        cfg = {**(self.test_cfg or {}), **test_cfg}
        return read_settings(InferenceCfg, 'test_cfg', cfg)

    def build_inference(self, **test_cfg) -> WindowedInference:
        """The strategy of :meth:`inference_cfg`."""
        cfg = self.inference_cfg(**test_cfg)
        strategy = WindowedInference
        if cfg.mode == 'local-global':
            strategy = FeatureAggregation if cfg.merges_features else LogitsAggregation
        return strategy(self, cfg)

    def check_temporal(self, temporal: Temporal | None) -> None:
        """Refuse a strategy that the model cannot follow.

        Raises:
            OpenVocabError: It has not what the strategy mixes.
        """

    @torch.no_grad()
    def predict(
        self,
        inputs: Tensor,
        data_samples: OptSampleList = None,
        vocabulary: object | None = None,
        temporal: Temporal | None = None,
        **test_cfg,
    ) -> SampleList:
        """Segment a batch, whose images may differ in size.

        Calls change nothing in the model, so that threads may share it.

        Args:
            inputs: Normalised images (B, 3, H, W), padded to one size.
            data_samples: With ``img_padding_size`` where padded, ``ori_shape`` and
                ``flip`` as MMSegmentation gives them. None: results at the input size.
            vocabulary: The classes, see :meth:`set_vocabulary`. None: the default.
            temporal: The batch are the next frames, in order, of the video that this
                strategy follows. None: images that are not related.
            **test_cfg: Settings of :class:`InferenceCfg` for this call alone.

        Returns:
            The samples with ``pred_sem_seg`` (1, H, W), int64, and with ``seg_logits``
            (N, H, W) if ``test_cfg.keep_logits``.

        Raises:
            RuntimeError: There is no vocabulary.
            ValueError: A setting or a post-processor does not fit.
            NonFiniteError: Scores are NaN or infinite; names the image.
        """
        vocabulary = self._given_or_default(vocabulary)
        for processor in self.postprocessors:
            if isinstance(processor, GridPostProcessor):
                processor.check(vocabulary, self.decode_head)
        if data_samples is None:
            data_samples = [SegDataSample() for _ in inputs]
        metas = [sample.metainfo for sample in data_samples]
        images = [_unpad(image, m) for image, m in zip(inputs, metas, strict=True)]
        self.check_temporal(temporal)
        inference = self.build_inference(**test_cfg)
        inference.temporal = temporal
        results = inference(images, metas, vocabulary)
        for sample, (labels, scores) in zip(data_samples, results, strict=True):
            _check_label_fits(sample, labels.shape)
            sample.pred_sem_seg = PixelData(data=labels[None])
            if scores is not None:
                sample.seg_logits = PixelData(data=scores)
        return data_samples


def _check_label_fits(sample: SegDataSample, size: torch.Size) -> None:
    """Metrics of mmseg would fail on it without naming the file."""
    shape = sample.gt_sem_seg.data.shape[-2:] if 'gt_sem_seg' in sample else size
    if tuple(shape) != tuple(size):
        raise OpenVocabError(
            f'label map {sample.get("seg_map_path")} has {shape[0]} x {shape[1]} '
            f'pixels (height x width), its image {sample.get("img_path")} '
            f'{size[0]} x {size[1]}: labels need the size of their image'
        )


def _unpad(image: Tensor, meta: Mapping) -> Tensor:
    """Cut the padding that the preprocessor added off an image (3, H, W)."""
    padding = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
    left, right, top, bottom = padding
    height, width = image.shape[-2:]
    return image[:, top : height - bottom, left : width - right]
