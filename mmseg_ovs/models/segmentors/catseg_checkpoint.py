"""CAT-Seg's published files, which hold a whole model, for the parts of a segmentor.

Source: cvlab-kaist/CAT-Seg; ``model_base.pth`` and ``model_large.pth`` are checkpoints
of detectron2.
"""

from __future__ import annotations

from torch import Tensor, nn

_CLIP = 'sem_seg_head.predictor.clip_model.'
_IMAGE_TOWER = f'{_CLIP}visual.'


def catseg_state_dict(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Share CAT-Seg's weights out to backbone, text encoder and head.

    Each part brings its share to its own keys. What no part knows stays, so that a
    strict loader lists it. A text encoder without weights (precomputed vectors) takes
    none.

    Args:
        model: A segmentor with these parts.
        state: A state dict; any but CAT-Seg's comes back as it is.
    """
    if not any(key.startswith(_CLIP) for key in state):
        return state
    shares: dict[str, dict[str, Tensor]] = dict(
        backbone={}, text_encoder={}, decode_head={}
    )
    for key, value in state.items():
        if key.startswith(_IMAGE_TOWER):
            shares['backbone'][key.removeprefix(_CLIP)] = value
        elif key.startswith(_CLIP):
            shares['text_encoder'][key.removeprefix(_CLIP)] = value
        else:
            shares['decode_head'][key] = value
    if not model.text_encoder.state_dict():
        del shares['text_encoder']
    return {
        f'{name}.{key}': value
        for name, share in shares.items()
        for key, value in getattr(model, name).convert_state_dict(share).items()
    }
