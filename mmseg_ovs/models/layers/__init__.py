"""Building blocks shared by backbones, necks and heads."""

from .attention import MaskedKeyBiasLinear, SelfAttention
from .feed_forward import Mlp, SwiGLU, SwiGLUFused, swiglu_hidden_dims
from .layer_scale import LayerScale
from .position_embedding import interpolate_position_embedding
from .rope import AxialRoPE, apply_rope
from .vit_block import ViTBlock

__all__ = [
    'AxialRoPE',
    'LayerScale',
    'MaskedKeyBiasLinear',
    'Mlp',
    'SelfAttention',
    'SwiGLU',
    'SwiGLUFused',
    'ViTBlock',
    'apply_rope',
    'interpolate_position_embedding',
    'swiglu_hidden_dims',
]
