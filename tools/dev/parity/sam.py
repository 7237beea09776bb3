"""Our SAM image encoder built from, loaded with and run on golden files."""

from torch import Tensor

from mmseg_ovs.models.backbones import SAMImageEncoder
from mmseg_ovs.models.utils import load_pretrained

from .golden import Golden, GoldenFileError

# What all published models have, and ours therefore always.
_PUBLISHED = dict(norm_layer='LayerNorm eps 1e-6', use_rel_pos=True)


def build_sam(kwargs: dict, **extra) -> SAMImageEncoder:
    """Our backbone for the arguments of the official ``ImageEncoderViT``."""
    others = {k: kwargs[k] for k, v in _PUBLISHED.items() if kwargs[k] != v}
    if others:
        raise GoldenFileError(f'no counterpart for the arguments {others}')
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


def run_image_encoder(golden: Golden) -> dict[str, Tensor]:
    """Every output of a SAM image encoder file."""
    kwargs = golden.kwargs
    model = build_sam(kwargs, out_indices=range(kwargs['depth'])).eval()
    load_pretrained(model, golden.weights)
    image = golden.inputs['image']
    *blocks, neck = model(image)
    ours = {'tokens': model.embed(image), 'neck': neck}
    for i, block in enumerate(blocks):
        ours[f'block.{i}'] = block.permute(0, 2, 3, 1)
    return ours
