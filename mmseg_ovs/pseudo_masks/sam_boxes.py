"""SAM of the ``segment_anything`` package as a segmenter of boxes.

Source: Kirillov et al., "Segment Anything" (arXiv 2304.02643);
facebookresearch/segment-anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

from mmseg_ovs.models.utils import CheckpointError, load_pretrained, weights_digest

from .errors import PseudoMaskError, UnreadableImageError

ARCHS = ('vit_b', 'vit_l', 'vit_h')
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class SAMSegmenter:
    """Masks of boxes: one mask a box, without SAM's three guesses.

    Args:
        sam: The model.
    """

    def __init__(self, sam: Sam) -> None:
        self.predictor = SamPredictor(sam.eval())
        self.setting = dict(
            segmenter='sam',
            segmenter_weights=weights_digest(sam),
            segmenter_size=sam.image_encoder.img_size,
        )

    @classmethod
    def from_checkpoint(
        cls,
        arch: str | os.PathLike,
        checkpoint: str | os.PathLike,
        device: str = 'cpu',
    ) -> SAMSegmenter:
        """Read a published model, or one of other numbers.

        Args:
            arch: 'vit_b', 'vit_l', 'vit_h', or a JSON file of the arguments of
                :func:`build_sam`.
            checkpoint: File of the weights; no pickled objects are read.
            device: Where to run it.

        Raises:
            PseudoMaskError: There is no such architecture or file, or they do not fit.
        """
        sam = _build(os.fspath(arch))
        try:
            load_pretrained(sam, checkpoint)
        except CheckpointError as error:
            raise PseudoMaskError(f'SAM ({arch}): {error}') from error
        return cls(sam.to(device))

    @torch.inference_mode()
    def __call__(
        self, image: np.ndarray, boxes: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """See :class:`~mmseg_ovs.pseudo_masks.masks.Segmenter`.

        Memory grows with the boxes of a group, which go through the decoder together.
        """
        self.predictor.set_image(image)
        size = image.shape[:2]
        masks = []
        for group in boxes:
            prompts = torch.as_tensor(group, device=self.predictor.device)
            prompts = self.predictor.transform.apply_boxes_torch(prompts, size)
            drawn, quality, _ = self.predictor.predict_torch(
                None, None, boxes=prompts, multimask_output=False
            )
            if not quality.isfinite().all():
                raise UnreadableImageError("SAM's scores for it are NaN or infinite")
            masks.append(drawn.any(dim=0)[0].cpu().numpy())
        self.predictor.reset_image()
        return masks


def build_sam(
    embed_dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
    global_attn_indexes: Sequence[int] = (2, 5, 8, 11),
    image_size: int = 1024,
    patch_size: int = 16,
    window_size: int = 14,
    prompt_dim: int = 256,
    decoder_heads: int = 8,
    decoder_mlp_dim: int = 2048,
) -> Sam:
    """A SAM of any size; the defaults are ``vit_b``.

    Args:
        embed_dim: Width of the image encoder.
        depth: Its blocks.
        num_heads: Its heads.
        global_attn_indexes: Its blocks without windows (0-based).
        image_size: Side of its input in pixels.
        patch_size: Side of a patch in pixels.
        window_size: Side of a window in patches.
        prompt_dim: Channels of prompts and masks.
        decoder_heads: Heads of the mask decoder.
        decoder_mlp_dim: Width of its feed-forward layers.
    """
    grid = image_size // patch_size
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=image_size,
            patch_size=patch_size,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            out_chans=prompt_dim,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=window_size,
            global_attn_indexes=tuple(global_attn_indexes),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=prompt_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(image_size, image_size),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=prompt_dim,
            transformer=TwoWayTransformer(
                depth=2,
                embedding_dim=prompt_dim,
                num_heads=decoder_heads,
                mlp_dim=decoder_mlp_dim,
            ),
        ),
        pixel_mean=list(PIXEL_MEAN),
        pixel_std=list(PIXEL_STD),
    )


def _build(arch: str) -> Sam:
    if arch in ARCHS:
        return sam_model_registry[arch]()
    try:
        arguments: Mapping[str, Any] = json.loads(Path(arch).read_text('utf-8'))
        return build_sam(**arguments)
    except FileNotFoundError as error:
        raise PseudoMaskError(
            f'SAM is one of {", ".join(ARCHS)} or a JSON file; there is no {arch}'
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise PseudoMaskError(f'{arch} describes no SAM: {error}') from error
