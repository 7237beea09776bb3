"""Building blocks shared by backbones, necks and heads."""

from .attention import SelfAttention
from .feature_unification import FeatureUnification
from .feed_forward import Mlp, QuickGELUMlp, SwiGLU, SwiGLUFused, swiglu_hidden_dims
from .layer_scale import LayerScale
from .linear import GuidedLinear, Linear, MaskedKeyBiasLinear, multiply, use_onednn
from .pixel_encoder import PixelEncoder, row_bands
from .position_embedding import interpolate_position_embedding
from .rope import AxialRoPE, apply_rope
from .vit_block import ViTBlock
from .windowed_attention import WindowedCrossAttention, window_mask

__all__ = [
    'AxialRoPE',
    'FeatureUnification',
    'GuidedLinear',
    'LayerScale',
    'Linear',
    'MaskedKeyBiasLinear',
    'Mlp',
    'PixelEncoder',
    'QuickGELUMlp',
    'SelfAttention',
    'SwiGLU',
    'SwiGLUFused',
    'ViTBlock',
    'WindowedCrossAttention',
    'apply_rope',
    'interpolate_position_embedding',
    'multiply',
    'row_bands',
    'swiglu_hidden_dims',
    'use_onednn',
    'window_mask',
]
