"""Grounding DINO of the ``transformers`` library as a detector of nouns.

Source: Liu et al., "Grounding DINO: Marrying DINO with Grounded Pre-Training for
Open-Set Object Detection" (arXiv 2303.05499); IDEA-Research/GroundingDINO.

The model scores each of its queries against each token of a text. The processor's own
post-processing turns the tokens above a threshold back into words, which then may be
half a noun or parts of two. Here nouns are written one after the other, each with a
full stop, so that none sees another; the characters of each are known, the tokenizer
says which tokens they became, and a query's score for a noun is the mean over these
tokens, as in the authors' evaluation on COCO. A query above the threshold is a box of
every noun for which it is: a *man* may be a *person* as well.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmseg_ovs.models.utils import require_finite, weights_digest

from .boxes import Detection
from .errors import PseudoMaskError, UnreadableImageError

MODEL_TYPES = ('grounding-dino', 'mm-grounding-dino')
_SPECIAL_TOKENS = 2  # [CLS] and [SEP]
_NO_TRANSFORMERS = (
    "finding boxes needs transformers: pip install 'mmseg_ovs[pseudo_masks]', or pip "
    'install transformers'
)


class GroundingDINODetector:
    """Boxes of nouns, by a Grounding DINO and its processor.

    Images go through one by one, so that an answer does not depend on its neighbours.
    Nouns that do not fit in one text are asked for in several.

    Args:
        model: ``GroundingDinoForObjectDetection`` or its MM-Grounding-DINO sibling.
        processor: ``GroundingDinoProcessor`` with a fast tokenizer.
        threshold: Least score of a box; 0.35 is that of the authors' examples.
        max_boxes: Most boxes of a noun; the best are kept.

    Raises:
        PseudoMaskError: The model is of another kind.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: Any,
        threshold: float = 0.35,
        max_boxes: int = 20,
    ) -> None:
        if model.config.model_type not in MODEL_TYPES:
            raise PseudoMaskError(
                f'the detector has to be one of {", ".join(MODEL_TYPES)}, not '
                f'{model.config.model_type}'
            )
        self.model = model.eval()
        self.processor = processor
        self.threshold = threshold
        self.max_boxes = max_boxes
        self.max_tokens = model.config.max_text_len
        self.setting = dict(
            detector=model.config.model_type,
            detector_weights=weights_digest(model),
            detector_size=dict(processor.image_processor.size),
            box_threshold=threshold,
            max_boxes=max_boxes,
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike,
        device: str = 'cpu',
        threshold: float = 0.35,
        max_boxes: int = 20,
    ) -> GroundingDINODetector:
        """Read a model that ``transformers`` has saved, from safetensors only.

        Args:
            name: Folder, or name on the hub (``'IDEA-Research/grounding-dino-tiny'``).
            device: Where to run it.
            threshold: See the class.
            max_boxes: See the class.

        Raises:
            PseudoMaskError: ``transformers`` or the model are missing, or it is of
                another kind.
            CheckpointError: Weights are NaN or infinite.
        """
        try:
            from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor
        except ImportError as error:
            raise PseudoMaskError(_NO_TRANSFORMERS) from error
        name = os.fspath(name)
        try:
            processor = AutoProcessor.from_pretrained(name)
            model = AutoModelForZeroShotObjectDetection.from_pretrained(
                name, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise PseudoMaskError(
                f'no detector can be read from {name!r}: {error}'
            ) from error
        require_finite(model.state_dict(), name)
        return cls(model.to(device), processor, threshold, max_boxes)

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, nouns: Sequence[str]) -> list[Detection]:
        """Boxes of ``nouns`` in an RGB image (H, W, 3), uint8; best first per noun.

        Raises:
            PseudoMaskError: A noun is empty, has a full stop or a question mark, or is
                too long for the model.
            UnreadableImageError: Scores are NaN.
        """
        found = []
        for places in self.split(nouns):
            scores, boxes = self._score(image, [nouns[place] for place in places])
            for column, place in enumerate(places):
                found += self._best(place, scores[:, column], boxes)
        return found

    def split(self, nouns: Sequence[str]) -> list[list[int]]:
        """Places of the nouns that are asked for together, text by text."""
        texts: list[list[int]] = []
        room = 0
        for place, noun in enumerate(nouns):
            if not noun.strip() or set(noun) & set('.?'):
                raise PseudoMaskError(
                    f'noun {place}, {noun!r}, cannot be asked for: it is empty, or has '
                    'a mark that ends a phrase'
                )
            length = len(self.processor.tokenizer.tokenize(f'{noun}.'))
            if length + _SPECIAL_TOKENS > self.max_tokens:
                raise PseudoMaskError(
                    f'noun {place} has {length} tokens, of {self.max_tokens} that the '
                    f'detector takes: {noun[:40]!r}'
                )
            if length > room:
                texts.append([])
                room = self.max_tokens - _SPECIAL_TOKENS
            texts[-1].append(place)
            room -= length
        return texts

    def _score(self, image: np.ndarray, nouns: list[str]) -> tuple[Tensor, Tensor]:
        """Scores (queries, nouns), and boxes (queries, 4) in pixels."""
        text, spans = join_nouns(nouns)
        tokens = self.processor.tokenizer(text, return_offsets_mapping=True)
        owners = token_owners(tokens['offset_mapping'], spans)
        inputs = self.processor(
            images=np.ascontiguousarray(image),
            text=text,
            input_data_format='channels_last',  # not guessed from a side of 3 pixels
            return_tensors='pt',
        )
        outputs = self.model(**inputs.to(self.model.device))
        chances = outputs.logits[0].float().sigmoid().cpu()
        if chances.isnan().any():  # of -inf, where there is no token, it is 0
            raise UnreadableImageError("the detector's scores for it are NaN")
        weights = chances.new_zeros(chances.shape[1], len(nouns))
        for token, owner in enumerate(owners):
            if owner is not None:
                weights[token, owner] = 1
        scores = chances @ (weights / weights.sum(0))

        height, width = image.shape[:2]
        centre, size = outputs.pred_boxes[0].float().cpu().split(2, dim=1)
        boxes = torch.cat([centre - size / 2, centre + size / 2], dim=1).clamp(0, 1)
        return scores, boxes * boxes.new_tensor([width, height, width, height])

    def _best(self, place: int, scores: Tensor, boxes: Tensor) -> list[Detection]:
        sides = boxes[:, 2:] - boxes[:, :2]
        kept = (scores >= self.threshold) & (sides >= 1).all(1)  # a pixel at least
        (rows,) = kept.nonzero(as_tuple=True)
        order = scores[rows].argsort(descending=True, stable=True)[: self.max_boxes]
        return [
            Detection(place, float(scores[row]), tuple(boxes[row].tolist()))
            for row in rows[order]
        ]


def join_nouns(nouns: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Nouns as a text for Grounding DINO, and where each begins and ends in it."""
    text, spans = '', []
    for noun in nouns:
        spans.append((len(text), len(text) + len(noun)))
        text += f'{noun}. '
    return text.rstrip(), spans


def token_owners(
    offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> list[int | None]:
    """Which noun each token is of; None for full stops and special tokens.

    Args:
        offsets: First and last (exclusive) character of each token.
        spans: Those of each noun.
    """
    owner = {
        character: place
        for place, (begin, end) in enumerate(spans)
        for character in range(begin, end)
    }
    return [owner.get(begin) if end > begin else None for begin, end in offsets]
