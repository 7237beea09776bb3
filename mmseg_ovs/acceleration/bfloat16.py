"""The heavy parts of a model in bfloat16, everything that is compared in float32."""

from __future__ import annotations

import torch
from torch import nn

from mmseg_ovs.models.segmentors import OpenVocabSegmentor


def run_in_bfloat16(model: nn.Module) -> None:
    """Let backbone, necks and head of a segmentor compute in bfloat16.

    Their weights stay float32 and are rounded when they are used, layer by layer, as
    ``torch.autocast`` sees fit; what they return is float32. Text vectors, heads that
    only compare (``in_float32``), and all that happens to scores after the head
    (resize, refinement, merging of windows, arg max) stay float32: bfloat16 holds 8
    bits, too few to tell close scores apart.

    Raises:
        TypeError: The model is not an :class:`OpenVocabSegmentor`.
    """
    if not isinstance(model, OpenVocabSegmentor):
        raise TypeError(
            f'bf16 works with an OpenVocabSegmentor, not with {type(model).__name__}: '
            'leave it out'
        )
    model.compute_dtype = torch.bfloat16
