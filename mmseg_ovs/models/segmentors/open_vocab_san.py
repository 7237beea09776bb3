"""SAN of MMSegmentation with a vocabulary that can change.

Xu, Zhang, Wei, Hu, Bai, "Side Adapter Network for Open-Vocabulary Semantic
Segmentation", CVPR 2023; published as MendelXu/SAN and, as the classes used here, in
open-mmlab/mmsegmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import ModuleList
from mmseg.models.segmentors import MultimodalEncoderDecoder
from mmseg.registry import MODELS
from mmseg.utils import OptSampleList, SampleList
from torch import Tensor, nn

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import OpenVocabError

from ..text_encoders import SANTextEncoder
from ..utils import PretrainedModule, load_pretrained
from ..utils.recognise import under
from .mask_scores import MaskInference, Masks, pad_to_multiple
from .settings import InferenceCfg
from .temporal import Temporal
from .vocabulary_segmentor import VocabularySegmentor

_UNFIT = ('window_softmax', 'resize_once', 'logit_scale', 'propagation')
_UNFIT += ('best_name_before_resize', 'seen_handicap')


@MODELS.register_module()
class OpenVocabSAN(VocabularySegmentor, PretrainedModule, MultimodalEncoderDecoder):
    """``MultimodalEncoderDecoder`` for any vocabulary at each call.

    Images of a batch are segmented as if they were alone: each is padded by itself.
    How classes with synonyms are scored: :class:`MaskInference`.

    Args:
        image_encoder: Config of the first layers of CLIP's image encoder.
        text_encoder: Config of a :class:`SANTextEncoder`.
        decode_head: Config of a ``SideAdapterCLIPHead``.
        vocabulary: The default vocabulary (see :meth:`Vocabulary.build`).
        postprocessors: Configs of post-processors that refine maps with the image.
        size_divisor: Images are padded with zeros to multiples of it.
        train_cfg: As in ``MultimodalEncoderDecoder``, which reads none.
        test_cfg: See :class:`InferenceCfg`; mode 'whole' (SAN's own) or 'slide'.
        data_preprocessor: Config of the data preprocessor.
        pretrained: Not taken; ``mmseg.apis.init_model`` sets it to None.
        asymetric_input, encoder_resolution: Whether, and by which factor, images are
            resized for CLIP.
        init_cfg: Initialisation; ``dict(type='Pretrained', checkpoint=...)`` loads a
            file of the whole model strictly, an own one or one of MMSegmentation.

    Raises:
        OpenVocabError: A part is not SAN's, a setting does not fit, or the text
            vectors are of another width than the head takes.
    """

    def __init__(
        self,
        image_encoder: dict,
        text_encoder: dict,
        decode_head: dict,
        vocabulary: object | None = None,
        postprocessors: Sequence[dict] = (),
        size_divisor: int = 32,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        pretrained: str | None = None,
        asymetric_input: bool = True,
        encoder_resolution: float | None = None,
        init_cfg: Any = None,
    ) -> None:
        if pretrained is not None:
            raise OpenVocabError(
                f'OpenVocabSAN takes no pretrained={pretrained!r}: name the checkpoint '
                "of SAN with init_cfg=dict(type='Pretrained', checkpoint=...)"
            )
        if isinstance(data_preprocessor, dict):
            # mmengine would look in its own registry when no default scope is set
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(
            image_encoder=image_encoder,
            text_encoder=text_encoder,
            decode_head=ConfigDict(decode_head),  # the head reads attributes
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            data_preprocessor=data_preprocessor,
            asymetric_input=asymetric_input,
            encoder_resolution=encoder_resolution,
            init_cfg=init_cfg,
        )
        self.size_divisor = size_divisor
        self.postprocessors = ModuleList(MODELS.build(c) for c in postprocessors)
        self.window_bytes = {}
        self.vocabulary = None
        self._check_parts()
        self.inference_cfg()
        if vocabulary is None:
            vocabulary = self.text_encoder.encoder.vocabulary
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def init_weights(self) -> None:
        """Load the checkpoint that ``init_cfg`` names.

        MMSegmentation's head cannot be initialised alone: it has no values to start
        from.

        Raises:
            CheckpointError: It is not available or does not fit.
            OpenVocabError: ``init_cfg`` names none.
        """
        cfg = self.init_cfg
        if not (isinstance(cfg, dict) and cfg.get('type') == 'Pretrained'):
            raise OpenVocabError(
                'SAN has no values to start from: give model.init_cfg=dict(type='
                "'Pretrained', checkpoint=...), or a checkpoint"
            )
        load_pretrained(self, cfg['checkpoint'], cfg.get('prefix'))
        self._is_init = True

    def _check_parts(self) -> None:
        encoder, head = self.text_encoder, self.decode_head
        if not isinstance(encoder, SANTextEncoder):
            raise OpenVocabError(
                f'{type(encoder).__name__} gives no row of "no class", which SAN '
                "needs: text_encoder=dict(type='SANTextEncoder', encoder=dict(...))"
            )
        width = head.rec_with_attnbias.proj.out_features
        if encoder.embed_dims != width:
            raise OpenVocabError(
                f'The head compares vectors of {width} numbers, but the text encoder '
                f'gives {encoder.embed_dims}: use the text encoder of the same CLIP'
            )
        for processor in self.postprocessors:
            if processor.stage == 'grid':
                raise OpenVocabError(
                    f'{type(processor).__name__} works on a grid of scores, which SAN '
                    'does not have: leave it out'
                )

    @property
    def backbone(self) -> nn.Module:
        """The trunk, by the name under which other segmentors have theirs."""
        return self.image_encoder

    def set_vocabulary(self, vocabulary: object) -> Vocabulary:
        """As in the base class; also for the losses."""
        vocabulary = super().set_vocabulary(vocabulary)
        self.text_encoder.set_vocabulary(vocabulary)
        if self.decode_head.train_cfg:
            self.decode_head.match_masks.num_classes = vocabulary.num_classes
        return vocabulary

    def inference_cfg(self, **test_cfg) -> InferenceCfg:
        """``test_cfg`` with the settings of a call.

        Raises:
            OpenVocabError: A key is unknown, or a value does not fit.
        """
        cfg = super().inference_cfg(**test_cfg)
        unfit = [name for name in _UNFIT if getattr(cfg, name)]
        if cfg.mode == 'local-global':
            unfit.append("mode='local-global'")
        if unfit:
            raise OpenVocabError(
                f'test_cfg.{unfit[0]} is for models that score a grid of patches; SAN '
                'scores masks: leave it out'
            )
        return cfg

    def check_temporal(self, temporal: Temporal | None) -> None:
        """Masks of a frame have no counterparts in the frame before.

        Raises:
            OpenVocabError: A strategy is asked for.
        """
        if temporal is not None:
            raise OpenVocabError(
                'Temporal strategies mix scores on the patches of frames; SAN scores '
                "masks, which differ from frame to frame: use 'none', or another model"
            )

    def build_inference(self, **test_cfg) -> MaskInference:
        """The strategy of :meth:`inference_cfg`."""
        return MaskInference(self, self.inference_cfg(**test_cfg))

    def project_vocabulary(self, vocabulary: object | None = None) -> Tensor:
        """Text rows (R + 1, C) of a vocabulary; the last one is "no class".

        Args:
            vocabulary: See :meth:`set_vocabulary`. None: the default.

        Raises:
            RuntimeError: There is no vocabulary.
        """
        return self.text_encoder(self._given_or_default(vocabulary))

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Encode a vocabulary, so that trouble comes up."""
        self.text_encoder(vocabulary)

    def find_masks(self, inputs: Tensor, text: Tensor) -> list[Masks]:
        """Masks of images and how well the text rows fit them.

        Args:
            inputs: Normalised images of one size (B, 3, H, W).
            text: Text rows (R + 1, C).
        """
        padded = pad_to_multiple(inputs, self.size_divisor)
        seen = padded
        if self.asymetric_input:
            seen = F.interpolate(
                padded, scale_factor=self.encoder_resolution, mode='bilinear'
            )
        found = [padded, self.extract_feat(seen), text]
        masks, logits = (output[-1] for output in self.decode_head(found, []))
        sizes = tuple(padded.shape[-2:]), tuple(inputs.shape[-2:])
        return [Masks(*each, *sizes) for each in zip(masks, logits, strict=True)]

    def _forward(self, inputs: Tensor, data_samples: OptSampleList = None) -> Any:
        """Logits of masks and of text rows, as the head gives them in a test."""
        found = self.find_masks(inputs, self.project_vocabulary())
        return [(each.logits, each.text) for each in found]

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict[str, Tensor]:
        """Losses by name, as in ``MultimodalEncoderDecoder``.

        Raises:
            OpenVocabError: The head has no ``train_cfg``, or it does not fit the
                vocabulary.
        """
        vocabulary = self._given_or_default(None)
        if not self.decode_head.train_cfg:
            raise OpenVocabError(
                'Training SAN needs decode_head.train_cfg and losses: take them from '
                "MMSegmentation's configs/_base_/models/san_vit-b16.py"
            )
        count = vocabulary.num_classes
        if any(len(names) != 1 for names in vocabulary.synonyms):
            raise OpenVocabError(
                'SAN is trained with one name a class: leave out others'
            )
        losses = self.decode_head.loss_decode
        for loss in losses if isinstance(losses, nn.ModuleList) else [losses]:
            weights = getattr(loss, 'class_weight', None)
            if weights is not None and len(weights) != count + 1:
                raise OpenVocabError(
                    f'{loss.loss_name}.class_weight has {len(weights)} numbers, but '
                    f'there are {count} classes and "no class": set it to [1.0] * '
                    f'{count} + [0.1]'
                )
        return super().loss(inputs, data_samples)

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A file of MMSegmentation's SAN: its text tower becomes the text encoder's."""
        prefix = 'text_encoder.'
        text = self.text_encoder.convert_state_dict(under(state, prefix))
        rest = {k: v for k, v in state.items() if not k.startswith(prefix)}
        return {**rest, **{f'{prefix}{k}': v for k, v in text.items()}}
