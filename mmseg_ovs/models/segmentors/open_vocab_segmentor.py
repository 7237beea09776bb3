"""The open-vocabulary segmentor: image and words in, labels out.

A model is a config with five parts by name: ``backbone``, ``neck``, ``text_encoder``,
``decode_head`` and ``test_cfg``; post-processors are a list beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.model import ModuleList, Sequential
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.utils import OptSampleList, SampleList, add_prefix
from torch import Tensor, nn

from mmseg_ovs.structures import VisualFeatures, Vocabulary
from mmseg_ovs.utils import OpenVocabError

from ..decode_heads import FeatureAuxiliaryHead
from ..necks import apply_neck, as_visual_features
from ..postprocessors import GridPostProcessor
from ..utils import PretrainedModule, resize_images, to_float32
from .inference import WindowedInference
from .label_propagation import LabelPropagation, PatchGraph
from .settings import InferenceCfg, TrainCfg, read_settings
from .vocabulary_segmentor import VocabularySegmentor


@MODELS.register_module()
class OpenVocabSegmentor(VocabularySegmentor, PretrainedModule, EncoderDecoder):
    """``EncoderDecoder`` with a text encoder, for any vocabulary at each call.

    Args:
        backbone: Backbone config; any MMSegmentation backbone.
        text_encoder: Text encoder config.
        decode_head: Config of an :class:`OpenVocabHead`.
        neck: Config of a neck, or a list of them that run in order. Stock necks see
            and replace the feature maps, a :class:`FeatureNeck` everything.
        auxiliary_head: Stock head(s) on the feature maps, or those that see more
            (:class:`FeatureAuxiliaryHead`); in training only.
        vocabulary: The default vocabulary (see :meth:`Vocabulary.build`), for calls
            that name none; ``VocabularyHook`` sets that of the running data set. None:
            the text encoder's own, if it has one.
        postprocessors: Configs of post-processors, run in the order given within their
            stage (grid, window, image, output).
        graph: Arguments of :class:`PatchGraph`, the network outside the model over
            whose features ``test_cfg.propagation`` spreads scores.
        train_cfg: See :class:`TrainCfg`.
        test_cfg: See :class:`InferenceCfg`.
        data_preprocessor: Config of the data preprocessor; its mean and standard
            deviation also give post-processors the image back.
        pretrained: As in ``EncoderDecoder``; ``mmseg.apis.init_model`` sets it to None.
        init_cfg: Initialisation; ``dict(type='Pretrained', checkpoint=...)`` loads a
            file of the whole model strictly: an own one, or one of the method's authors
            that the head knows (:meth:`OpenVocabHead.split_checkpoint`).

    Raises:
        ValueError: A key of ``train_cfg`` or ``test_cfg`` is unknown, or a value does
            not fit; the text vectors are of another width than the head takes.
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
        graph: dict | None = None,
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
        read_settings(TrainCfg, 'train_cfg', self.train_cfg)
        self.graph = None if graph is None else PatchGraph(**graph)
        if self.inference_cfg().propagation is None and graph is not None:
            raise OpenVocabError(
                'The model has a graph that nothing reads: give test_cfg.propagation '
                '(dict() for the settings of LPOSS), or set model.graph to None'
            )
        self.text_encoder = MODELS.build(text_encoder)
        self._check_normalisation()
        self.decode_head.check_text_width(self.text_encoder.embed_dims)
        # mmengine's, which initialises what is in it
        self.postprocessors = ModuleList(MODELS.build(c) for c in postprocessors)
        self.vocabulary = None
        self.compute_dtype: torch.dtype | None = None  # see run_part
        self.window_bytes = {}
        if vocabulary is None:
            vocabulary = self.text_encoder.vocabulary
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

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

    def _check_normalisation(self) -> None:
        """A backbone that renormalises images has to know how they come."""
        told = getattr(self.backbone, 'normalisation', None)
        images = self.data_preprocessor
        if told is None or not getattr(images, '_enable_normalize', False):
            return
        if images.mean.is_meta:  # a model without memory
            return
        for name, expected in zip(('mean', 'std'), told, strict=True):
            given = getattr(images, name).flatten()
            if not torch.allclose(given.cpu(), torch.tensor(expected), rtol=1e-3):
                raise ValueError(
                    f'data_preprocessor.{name} is {given.tolist()}, but '
                    f'{type(self.backbone).__name__} takes it for {list(expected)} '
                    f'when it renormalises images: give backbone.{name} the same'
                )

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
        """Losses by name of a batch of images (B, 3, H, W).

        Raises:
            ValueError: Labels or masks are of another size than their image.
        """
        _check_sizes(data_samples, inputs.shape[-2:])
        cfg = read_settings(TrainCfg, 'train_cfg', self.train_cfg)
        resized = resize_images(inputs, cfg.input_size, cfg.input_antialias)
        features = self.extract_feat(resized)
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
        several = isinstance(self.auxiliary_head, nn.ModuleList)
        losses: dict[str, Tensor] = {}
        for i, head in enumerate(
            self.auxiliary_head if several else [self.auxiliary_head]
        ):
            if isinstance(head, FeatureAuxiliaryHead):
                own, prefix = head.loss(inputs, data_samples), head.loss_prefix
            else:
                own, prefix = (
                    head.loss(inputs.maps, data_samples, self.train_cfg),
                    'aux',
                )
            losses.update(add_prefix(own, f'{prefix}_{i}' if several else prefix))
        return losses

    def project_vocabulary(self, vocabulary: object | None = None) -> Tensor:
        """Text rows (R, C) of a vocabulary in the space of the features.

        Args:
            vocabulary: See :meth:`set_vocabulary`. None: the default.

        Raises:
            RuntimeError: There is no vocabulary.
        """
        vocabulary = self._given_or_default(vocabulary)
        self.decode_head.check_vocabulary(vocabulary)
        return self.decode_head.project_text(self.text_encoder(vocabulary))

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Encode a vocabulary and project one row, so that trouble comes up.

        Raises:
            OpenVocabError: ``test_cfg``, the head or a post-processor does not go with
                it.
        """
        self.inference_cfg().background_of(vocabulary)
        self.decode_head.check_vocabulary(vocabulary)
        for processor in self.postprocessors:
            if isinstance(processor, GridPostProcessor):
                processor.check(vocabulary, self.decode_head)
        self.decode_head.project_text(self.text_encoder(vocabulary)[:1])

    def _forward(self, inputs: Tensor, data_samples: OptSampleList = None) -> Tensor:
        """Logits (B, R, h, w) on the patch grid, without any post-process."""
        return self.run_head(self.extract_feat(inputs), self.project_vocabulary())

    def encode_decode(
        self, inputs: Tensor, text: Tensor, refine: bool = True
    ) -> Tensor:
        """Scores (B, R, h, w) on the patch grid, after the post-processors there.

        Args:
            inputs: Normalised images of one size (B, 3, H, W).
            text: Projected text rows (R, C).
            refine: Whether those run that use the image, see :class:`InferenceCfg`.
        """
        return self.decode(self.extract_feat(inputs), text, refine)

    def decode(
        self, features: VisualFeatures, text: Tensor, refine: bool = True
    ) -> Tensor:
        """As :meth:`encode_decode`, from features after the neck."""
        scores = self.decode_head.activate(self.run_head(features, text))
        for processor in self.postprocessors:
            if isinstance(processor, GridPostProcessor):
                scores = processor(scores, features, text)
            elif processor.stage == 'grid' and refine:
                images = self.denormalize(features.image)
                scores = processor.refine_grid(scores, images)
        return scores

    def inference_cfg(self, **test_cfg) -> InferenceCfg:
        """As in the base class; also for a head with a softmax of its own, and a graph.

        Raises:
            OpenVocabError: A setting does not fit.
        """
        settings = super().inference_cfg(**test_cfg)
        if isinstance(self.decode_head.activation, nn.Softmax):
            settings.check_head_softmax()
        if settings.merges_features and not self.decode_head.merges_features:
            raise OpenVocabError(
                f'{type(self.decode_head).__name__} cannot score features averaged '
                "over windows (test_cfg.aggregation='features'): use mode 'slide'"
            )
        if settings.propagation is not None and self.graph is None:
            raise OpenVocabError(
                'test_cfg.propagation needs a network whose features say which patches '
                'belong together: give model.graph=dict(backbone=dict(...))'
            )
        return settings

    def build_inference(self, **test_cfg) -> WindowedInference:
        """The strategy of :meth:`inference_cfg`."""
        cfg = self.inference_cfg(**test_cfg)
        if cfg.propagation is not None:
            return LabelPropagation(self, cfg)
        return super().build_inference(**test_cfg)

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A published file of the whole model to the keys of its parts.

        The head knows the files of its method, and each part brings its share to its
        own keys. A part without weights (precomputed text vectors) takes none.
        """
        shares = self.decode_head.split_checkpoint(state)
        if shares is None:
            return state
        converted = {}
        for name, share in shares.items():
            part = getattr(self, name, None)
            if part is not None and not part.state_dict():
                continue
            # What a part cannot read, or no part is there for, is listed as unexpected.
            convert = getattr(part, 'convert_state_dict', dict)
            converted.update({f'{name}.{k}': v for k, v in convert(share).items()})
        return converted


def _check_sizes(samples: SampleList, size: torch.Size) -> None:
    """Labels of another size than the padded image would be stretched over it."""
    for sample in samples:
        for name in ('gt_sem_seg', 'gt_noun_masks'):
            shape = sample.get(name).data.shape[-2:] if name in sample else size
            if tuple(shape) != tuple(size):
                image = sample.get('img_path', 'an image')
                file = sample.get('seg_map_path', 'the label file')
                raise OpenVocabError(
                    f'{name} of {image} has {shape[0]} x {shape[1]} pixels (height x '
                    f'width), the image in the batch {size[0]} x {size[1]}: check that '
                    f'{file} has the size of its image, load the label before '
                    'transforms that change the size, and bring images with masks of '
                    'nouns to one size'
                )
