"""What a backbone hands on when more than feature maps is asked for."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class VisualFeatures(NamedTuple):
    """Feature maps of a backbone with its token-level extras.

    Attributes:
        maps: One map (B, C, h, w) for each of the backbone's ``out_indices``.
        cls_token: Class token (B, C) of the last output layer.
        registers: Register (storage) tokens (B, R, C) of the last output layer.
        cls_attention: Products q . k (B, heads, h, w) of the class token's query with
            the patch keys in the last output layer: before rotary embedding, neither
            scaled nor softmaxed.
        image: The normalised images (B, 3, H, W) that the backbone was given, for
            necks and heads which look at them again. The segmentor sets it.
    """

    maps: tuple[Tensor, ...]
    cls_token: Tensor | None = None
    registers: Tensor | None = None
    cls_attention: Tensor | None = None
    image: Tensor | None = None
