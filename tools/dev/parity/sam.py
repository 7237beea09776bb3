"""Our SAM image encoder built from, loaded with and run on golden files."""

import torch
from torch import Tensor

from mmseg_ovs.models.backbones import SAMImageEncoder
from mmseg_ovs.models.utils import load_pretrained

from .golden import Golden, GoldenFileError

# What the official constructor takes when an argument is not named.
_DEFAULTS = dict(
    img_size=1024,
    patch_size=16,
    embed_dim=768,
    depth=12,
    num_heads=12,
    mlp_ratio=4.0,
    out_chans=256,
    qkv_bias=True,
    norm_layer='LayerNorm eps 1e-5',
    use_rel_pos=False,
    window_size=0,
    global_attn_indexes=(),
)
# What all published models have, and ours therefore always.
_PUBLISHED = dict(norm_layer='LayerNorm eps 1e-6', use_rel_pos=True)


def build_sam(kwargs: dict, **extra) -> SAMImageEncoder:
    """Our backbone for the arguments of the official ``ImageEncoderViT``."""
    kwargs = {**_DEFAULTS, **kwargs}
    others = {k: kwargs[k] for k, v in _PUBLISHED.items() if kwargs[k] != v}
    unknown = sorted(kwargs.keys() - _DEFAULTS.keys())
    if others or unknown:
        raise GoldenFileError(f'no counterpart for the arguments {others} {unknown}')
    arch = dict(
        embed_dims=kwargs['embed_dim'],
        depth=kwargs['depth'],
        num_heads=kwargs['num_heads'],
        global_attn_indexes=kwargs['global_attn_indexes'],
        mlp_ratio=kwargs['mlp_ratio'],
        qkv_bias=kwargs['qkv_bias'],
    )
    return SAMImageEncoder(
        arch,
        img_size=kwargs['img_size'],
        patch_size=kwargs['patch_size'],
        window_size=kwargs['window_size'],
        out_channels=kwargs['out_chans'],
        fit='error',
        **extra,
    )


@torch.no_grad()
def run_image_encoder(golden: Golden) -> dict[str, Tensor]:
    """Every output of a SAM image encoder file."""
    kwargs = golden.config['constructor']['kwargs']
    depth = kwargs.get('depth', _DEFAULTS['depth'])
    model = build_sam(kwargs, out_indices=range(depth)).eval()
    load_pretrained(model, golden.weights)
    image = golden.inputs['image']
    *blocks, neck = model(image)
    ours = {'tokens': model.embed(image), 'neck': neck}
    for i, block in enumerate(blocks):
        ours[f'block.{i}'] = block.permute(0, 2, 3, 1)
    return ours
