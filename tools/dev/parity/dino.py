"""Our DINOv2 and DINOv3 built from, loaded with and run on golden files."""

import torch
from torch import Tensor

from mmseg_ovs.models.backbones import DINOv2, DINOv3, VisionTransformer
from mmseg_ovs.models.utils import load_pretrained
from mmseg_ovs.structures import VisualFeatures

from .golden import Golden, tokens_of


def build_dinov2(kwargs: dict, **extra) -> DINOv2:
    """Our backbone for the arguments of the official ``DinoVisionTransformer``."""
    arch = dict(
        embed_dims=kwargs['embed_dim'],
        depth=kwargs['depth'],
        num_heads=kwargs['num_heads'],
        feed_forward='mlp' if kwargs['ffn_layer'] == 'mlp' else 'swiglu',
    )
    return DINOv2(
        arch,
        num_registers=kwargs['num_register_tokens'],
        img_size=kwargs['img_size'],
        patch_size=kwargs['patch_size'],
        mlp_ratio=kwargs['mlp_ratio'],
        layer_scale=kwargs['init_values'],
        interpolate_offset=kwargs['interpolate_offset'],
        interpolate_antialias=kwargs['interpolate_antialias'],
        fit='error',
        **extra,
    )


def build_dinov3(kwargs: dict, **extra) -> DINOv3:
    """Our backbone for the arguments of the official ``DinoVisionTransformer``."""
    feed_forward = kwargs['ffn_layer']
    arch = dict(
        embed_dims=kwargs['embed_dim'],
        depth=kwargs['depth'],
        num_heads=kwargs['num_heads'],
        feed_forward='mlp' if feed_forward == 'mlp' else 'swiglu',
        mlp_ratio=kwargs['ffn_ratio'],
        swiglu_align=int(feed_forward.removeprefix('swiglu') or 8)
        if feed_forward.startswith('swiglu')
        else 8,
        qkv_bias=kwargs['qkv_bias'],
    )
    return DINOv3(
        arch,
        num_registers=kwargs['n_storage_tokens'],
        patch_size=kwargs['patch_size'],
        layer_scale=kwargs['layerscale_init'],
        norm_eps=1e-5 if kwargs['norm_layer'] == 'layernormbf16' else 1e-6,
        mask_key_bias=kwargs['mask_k_bias'],
        rope_base=kwargs['pos_embed_rope_base'],
        rope_normalize_coords=kwargs['pos_embed_rope_normalize_coords'],
        untie_norms=kwargs.get('untie_cls_and_patch_norms', False),
        fit='crop',
        **extra,
    )


def run_backbone(golden: Golden) -> dict[str, Tensor]:
    """Every output of a DINOv2 or DINOv3 backbone file."""
    kwargs = golden.kwargs
    is_v2 = golden.config['component'] == 'dinov2'
    extras = ('cls_token', 'registers')
    build = build_dinov2 if is_v2 else build_dinov3
    model = build(kwargs, extra_outputs=extras).eval()
    load_pretrained(model, golden.weights)
    registers = 'x_norm_regtokens' if is_v2 else 'x_storage_tokens'
    ours = {}
    for name, image in golden.inputs.items():
        size = name.removeprefix('image_')
        normed = _run(model, image, -1, norm=True)
        ours[f'{size}.x_norm_clstoken'] = normed.cls_token
        ours[f'{size}.{registers}'] = normed.registers
        ours[f'{size}.x_norm_patchtokens'] = tokens_of(normed.maps[0])
        raw = _run(model, image, -1, norm=False)
        parts = [raw.cls_token[:, None], raw.registers, tokens_of(raw.maps[0])]
        ours[f'{size}.x_prenorm'] = torch.cat(parts, dim=1)
        for norm in (True, False):
            for layer in golden.config['layers']:
                out = _run(model, image, layer, norm)
                prefix = f'{size}.layers_{"norm" if norm else "raw"}.{layer}'
                ours[f'{prefix}.cls'] = out.cls_token
                ours[f'{prefix}.storage'] = out.registers
                ours[f'{prefix}.patch'] = tokens_of(out.maps[0])
        for i, last in enumerate((-2, -1)):
            ours[f'{size}.last2_reshaped.{i}'] = _run(model, image, last, True).maps[0]
        if not is_v2:
            grid = normed.maps[0].shape[-2:]
            sin, cos = model.rope_embed(*grid, num_prefix=0)
            ours[f'{size}.rope.sin'], ours[f'{size}.rope.cos'] = sin, cos
    return ours


def _run(
    model: VisionTransformer, image: Tensor, layer: int, norm: bool
) -> VisualFeatures:
    model.out_indices = (layer % model.depth,)
    model.final_norm = norm
    return model(image)
