"""The open-vocabulary segmentor: image and words in, labels out.

A model is a config with five parts by name: ``backbone``, ``neck``, ``text_encoder``,
``decode_head`` and ``test_cfg``; post-processors are a list beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import Sequential
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import OptSampleList, SampleList, add_prefix
from torch import Tensor, nn

from mmseg_ovs.structures.visual_features import VisualFeatures
from mmseg_ovs.structures.vocabulary import Vocabulary
from mmseg_ovs.visualization.palette import make_palette

from ..decode_heads import AlignmentHead
from ..necks import apply_neck, as_visual_features
from ..postprocessors import GridPostProcessor, ImagePostProcessor
from ..utils import PretrainedModule, resize_images, to_float32
from .catseg_checkpoint import catseg_state_dict
from .inference import InferenceCfg
from .local_global import build_inference


@MODELS.register_module()
class OpenVocabSegmentor(PretrainedModule, EncoderDecoder):
    """``EncoderDecoder`` with a text encoder, for any vocabulary at each call.

    Args:
        backbone: Backbone config; any MMSegmentation backbone.
        text_encoder: Text encoder config.
        decode_head: Config of an :class:`OpenVocabHead`.
        neck: Config of a neck, or a list of them that run in order. Stock necks see
            and replace the feature maps, a :class:`FeatureNeck` everything.
        auxiliary_head: Stock head(s) on the feature maps, or an
            :class:`AlignmentHead`; in training only.
        vocabulary: The default vocabulary (see :meth:`Vocabulary.build`), for calls
            that name none; ``VocabularyHook`` sets that of the running data set. None:
            the text encoder's own, if it has one.
        postprocessors: Configs of post-processors, run in the order given within their
            stage (grid, window, image).
        train_cfg: ``input_size`` (height, width): images are resized to it
            (bilinear) before the backbone, while a teacher sees them as the training
            pipeline made them. ``input_antialias``: whether that resize is antialiased
            (default True).
        test_cfg: See :class:`InferenceCfg`.
        data_preprocessor: Config of the data preprocessor; its mean and standard
            deviation also give post-processors the image back.
        pretrained: As in ``EncoderDecoder``; ``mmseg.apis.init_model`` sets it to None.
        init_cfg: Initialisation; ``dict(type='Pretrained', checkpoint=...)`` loads a
            file of the whole model strictly: an own one, or CAT-Seg's as published.
    """

    def __init__(
        self,
        backbone: dict,
        text_encoder: dict,
        decode_head: dict,
        neck: dict | list[dict] | None = None,
        auxiliary_head: dict | list[dict] | None = None,
        vocabulary: object | None = None,
        postprocessors: Sequence[dict] = (),
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if isinstance(data_preprocessor, dict):
            # mmengine would look in its own registry when no default scope is set
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(
            backbone=backbone,
            decode_head=decode_head,
            neck=neck,
            auxiliary_head=auxiliary_head,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            data_preprocessor=data_preprocessor,
            pretrained=pretrained,
            init_cfg=init_cfg,
        )
        self.text_encoder = MODELS.build(text_encoder)
        self.postprocessors = nn.ModuleList(MODELS.build(c) for c in postprocessors)
        self.vocabulary: Vocabulary | None = None
        self.compute_dtype: torch.dtype | None = None  # see run_part
        self.window_bytes: dict[Hashable, int] = {}  # measured, see WindowBatches
        if vocabulary is None:
            vocabulary = self.text_encoder.vocabulary
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

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
        return dict(classes=classes, palette=make_palette(len(classes)))

    @dataset_meta.setter
    def dataset_meta(self, metainfo: Mapping | None) -> None:
        if self.vocabulary is None and metainfo and metainfo.get('classes'):
            self.set_vocabulary(Vocabulary.from_metainfo(metainfo))

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

    def run_part(self, part: Callable, *args: Any) -> Any:
        """Call a part in ``compute_dtype`` (``torch.autocast``); results are float32.

        ``compute_dtype`` None, the default, leaves the precision to PyTorch and to
        MMEngine's AMP.
        """
        if self.compute_dtype is None:
            return part(*args)
        device = next(self.parameters()).device.type
        with torch.autocast(device, self.compute_dtype):
            return to_float32(part(*args))

    def run_backbone(self, inputs: Tensor) -> VisualFeatures:
        """Features of images (B, 3, H, W) before the neck, with the images."""
        return as_visual_features(self.run_part(self.backbone, inputs), inputs)

    def run_neck(self, features: VisualFeatures) -> VisualFeatures:
        """Features after the neck, if there is one."""
        if self.with_neck:
            for neck in self.neck if isinstance(self.neck, Sequential) else [self.neck]:
                features = self.run_part(apply_neck, neck, features)
        return features

    def run_head(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """Logits (B, R, h, w) of features after the neck and text rows (R, C)."""
        if self.decode_head.in_float32:
            return self.decode_head(features, text)
        return self.run_part(self.decode_head, features, text)

    def extract_feat(self, inputs: Tensor) -> VisualFeatures:
        """Features of images (B, 3, H, W), after the neck."""
        return self.run_neck(self.run_backbone(inputs))

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict[str, Tensor]:
        """Losses by name of a batch of images (B, 3, H, W)."""
        cfg = self.train_cfg or {}
        size, antialias = cfg.get('input_size'), cfg.get('input_antialias', True)
        features = self.extract_feat(resize_images(inputs, size, antialias))
        losses = self._decode_head_forward_train(features, data_samples)
        if self.with_auxiliary_head:
            features = features._replace(image=inputs)
            losses.update(self._auxiliary_head_forward_train(features, data_samples))
        return losses

    def _decode_head_forward_train(
        self, inputs: VisualFeatures, data_samples: SampleList
    ) -> dict[str, Tensor]:
        losses = self.decode_head.loss(
            inputs, data_samples, self.text_encoder, self.vocabulary
        )
        return add_prefix(losses, 'decode')

    def _auxiliary_head_forward_train(
        self, inputs: VisualFeatures, data_samples: SampleList
    ) -> dict[str, Tensor]:
        if isinstance(self.auxiliary_head, AlignmentHead):
            losses = self.auxiliary_head.loss(inputs, data_samples)
            return add_prefix(losses, 'align')
        return super()._auxiliary_head_forward_train(inputs.maps, data_samples)

    def project_vocabulary(self, vocabulary: object | None = None) -> Tensor:
        """Text rows (R, C) of a vocabulary in the space of the features.

        Args:
            vocabulary: See :meth:`set_vocabulary`. None: the default.

        Raises:
            RuntimeError: There is no vocabulary.
        """
        vocabulary = self._given_or_default(vocabulary)
        return self.decode_head.project_text(self.text_encoder(vocabulary))

    def _forward(self, inputs: Tensor, data_samples: OptSampleList = None) -> Tensor:
        """Logits (B, R, h, w) on the patch grid, without any post-process."""
        return self.run_head(self.extract_feat(inputs), self.project_vocabulary())

    def encode_decode(self, inputs: Tensor, text: Tensor) -> Tensor:
        """Scores (B, R, h, w) on the patch grid, after the grid post-processors.

        Args:
            inputs: Normalised images of one size (B, 3, H, W).
            text: Projected text rows (R, C).
        """
        return self.decode(self.extract_feat(inputs), text)

    def decode(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """As :meth:`encode_decode`, from features after the neck."""
        scores = self.decode_head.activate(self.run_head(features, text))
        for processor in self.postprocessors:
            if isinstance(processor, GridPostProcessor):
                scores = processor(scores, features, text)
        return scores

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published files of the whole model (CAT-Seg's) to the keys of its parts."""
        return catseg_state_dict(self, state)

    def image_postprocessors(self, stage: str) -> list[ImagePostProcessor]:
        """Post-processors that refine maps with the image at a stage."""
        return [
            p
            for p in self.postprocessors
            if isinstance(p, ImagePostProcessor) and p.stage == stage
        ]

    def denormalize(self, image: Tensor) -> Tensor:
        """The RGB image (3, H, W), 0..255, behind a normalised one."""
        if not getattr(self.data_preprocessor, '_enable_normalize', False):
            return image
        return image * self.data_preprocessor.std + self.data_preprocessor.mean

    def inference_cfg(self, **test_cfg) -> InferenceCfg:
        """``test_cfg`` with the settings of a call."""
        return InferenceCfg(**{**(self.test_cfg or {}), **test_cfg})

    @torch.no_grad()
    def predict(
        self,
        inputs: Tensor,
        data_samples: OptSampleList = None,
        vocabulary: object | None = None,
        **test_cfg,
    ) -> SampleList:
        """Segment a batch, whose images may differ in size.

        Calls change nothing in the model, so that threads may share it.

        Args:
            inputs: Normalised images (B, 3, H, W), padded to one size.
            data_samples: With ``img_padding_size`` where padded, ``ori_shape`` and
                ``flip`` as MMSegmentation gives them. None: results at the input size.
            vocabulary: The classes, see :meth:`set_vocabulary`. None: the default.
            **test_cfg: Settings of :class:`InferenceCfg` for this call alone.

        Returns:
            The samples with ``pred_sem_seg`` (1, H, W), int64, and with ``seg_logits``
            (N, H, W) if ``test_cfg.keep_logits``.

        Raises:
            RuntimeError: There is no vocabulary.
            ValueError: A setting does not fit.
        """
        vocabulary = self._given_or_default(vocabulary)
        if data_samples is None:
            data_samples = [SegDataSample() for _ in inputs]
        metas = [sample.metainfo for sample in data_samples]
        images = [_unpad(image, m) for image, m in zip(inputs, metas, strict=True)]
        inference = build_inference(self, self.inference_cfg(**test_cfg))
        results = inference(images, metas, vocabulary)
        for sample, (labels, scores) in zip(data_samples, results, strict=True):
            sample.pred_sem_seg = PixelData(data=labels[None])
            if scores is not None:
                sample.seg_logits = PixelData(data=scores)
        return data_samples


def _unpad(image: Tensor, meta: Mapping) -> Tensor:
    """Cut the padding that the preprocessor added off an image (3, H, W)."""
    padding = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
    left, right, top, bottom = padding
    height, width = image.shape[-2:]
    return image[:, top : height - bottom, left : width - right]
