"""A tiny model of each system, with text vectors from a file."""

from __future__ import annotations

import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_ovs.models.text_encoders import save_embeddings

NAMES = ['sand', 'red disc', 'blue bar', 'sky', 'moss']
WIDTH = 16  # of features and text
PIXELS = dict(
    type='OpenVocabDataPreProcessor',
    mean=[120.0, 110.0, 100.0],
    std=[60.0, 55.0, 50.0],
    bgr_to_rgb=True,
)
VIT = dict(embed_dims=WIDTH, depth=1, num_heads=2, feed_forward='mlp')
GROUPS = dict(type='GN', num_groups=4)
AGGREGATOR = dict(
    channels=32,
    num_layers=1,
    num_heads=2,
    window_size=3,
    text_guidance_dims=8,
    appearance_guidance_dims=8,
    decoder_dims=(32, 16),
    decoder_guidance_dims=(8, 4),
    class_chunk=2,
)


def talk2dino() -> dict:
    """Positions of another grid, class-token attention that no map needs."""
    return dict(
        backbone=dict(
            type='DINOv2',
            arch=VIT,
            num_registers=4,
            img_size=56,
            extra_outputs=('cls_attention',),
        ),
        decode_head=dict(type='Talk2DINOHead', in_channels=WIDTH, text_channels=20),
        postprocessors=[dict(type='PAMR')],
        test_cfg=dict(mode='slide', crop_size=(42, 42), stride=(28, 28)),
    )


def ovs_dino() -> dict:
    """Both necks; positions by scale factor, windows stretched to the patch."""
    return dict(
        backbone=dict(
            type='DINOv2',
            arch=VIT,
            img_size=56,
            out_indices=(0, 0, 0),
            final_norm=(False, False, True),
            fit='resize',
        ),
        neck=[
            dict(
                type='StructureAwareEncoder',
                in_channels=[WIDTH] * 2,
                channels=16,
                out_channels=8,
                norm_cfg=GROUPS,
            ),
            dict(
                type='StructureModulatedDecoder',
                in_channels=8,
                channels=WIDTH,
                gate=dict(type='PreservationGate', norm_cfg=GROUPS),
                gamma_init=0.5,
                norm_cfg=GROUPS,
            ),
        ],
        decode_head=dict(
            type='OVSDINOHead',
            in_channels=WIDTH,
            text_channels=20,
            activation='sigmoid',
        ),
        test_cfg=dict(mode='slide', crop_size=(40, 40), stride=(28, 28)),
    )


def dinotxt() -> dict:
    """Rotary positions, vision head, features of two windows and of the whole."""
    return dict(
        backbone=dict(
            type='DINOv3',
            arch=VIT,
            num_registers=2,
            extra_outputs=('cls_token', 'registers'),
        ),
        neck=dict(
            type='DinoTxtVisionHead', embed_dims=WIDTH, num_heads=2, num_blocks=1
        ),
        decode_head=dict(
            type='TextSimilarityHead', in_channels=WIDTH, text_channels=WIDTH
        ),
        test_cfg=dict(
            mode='local-global',
            aggregation='features',
            image_size=(48, 32),
            crop_size=(32, 32),
            stride=(16, 16),
        ),
    )


def cat_seg() -> dict:
    """Dense CLIP, 8 classes at most, logits of windows and of the whole image."""
    return dict(
        backbone=dict(
            type='OpenCLIPImageEncoder',
            model=dict(
                embed_dim=WIDTH,
                quick_gelu=True,
                vision_cfg=dict(
                    width=32, head_width=8, layers=2, patch_size=8, image_size=32
                ),
            ),
            dense=True,
            out_indices=(0, 0, 1),
            final_norm=(False, False, True),
        ),
        decode_head=dict(
            type='CostAggregationHead',
            in_channels=WIDTH,
            stride=8,
            prompt_channels=2,
            appearance_guidance=dict(index=2, channels=WIDTH),
            decoder_guidance=[
                dict(index=0, channels=32, stride=8, upsampled_channels=16),
                dict(index=1, channels=32, stride=8, upsampled_channels=8),
            ],
            aggregator=dict(AGGREGATOR, pad_len=8, test_pooling=(1, 1)),
        ),
        test_cfg=dict(
            mode='local-global',
            aggregation='logits',
            image_size=(64, 64),
            crop_size=(40, 40),
            stride=(24, 24),
            input_size=(40, 40),
        ),
    )


def dinov3_seg() -> dict:
    """AnyUp, SAM as prior, both halves of the text."""
    return dict(
        backbone=dict(
            type='BackboneWithNeck',
            backbone=dict(
                type='DINOv3',
                arch=VIT,
                num_registers=2,
                patch_size=8,
                extra_outputs=('cls_token', 'registers'),
            ),
            neck=dict(
                type='DinoTxtVisionHead', embed_dims=WIDTH, num_heads=2, num_blocks=1
            ),
        ),
        neck=[
            dict(type='AnyUp', output_size=1, qk_dim=8, frozen=True),
            dict(
                type='SemanticPriorEncoder',
                backbone=dict(
                    type='SAMImageEncoder',
                    arch=dict(
                        embed_dims=16, depth=2, num_heads=2, global_attn_indexes=(1,)
                    ),
                    img_size=32,
                    patch_size=8,
                    window_size=2,
                    out_channels=8,
                    out_indices=0,
                    fused_attention=True,
                ),
            ),
        ],
        decode_head=dict(
            type='CostAggregationHead',
            in_channels=WIDTH,
            in_index=0,
            stride=8,
            text_parts=2,
            prompt_channels=2,
            appearance_guidance=dict(index=2, channels=8),
            decoder_guidance=[
                dict(index=1, channels=16, stride=8, upsampled_channels=6),
                dict(index=1, channels=16, stride=8, upsampled_channels=6),
            ],
            aggregator=dict(AGGREGATOR, window_size=4),
        ),
        test_cfg=dict(mode='slide', crop_size=(40, 32), stride=(20, 16)),
    )


# System and the shape of the text vectors of one name.
SYSTEMS = {
    talk2dino: (20,),
    ovs_dino: (20,),
    dinotxt: (WIDTH,),
    cat_seg: (2, WIDTH),
    dinov3_seg: (2 * WIDTH,),
}


def build(system, folder) -> torch.nn.Module:
    """A model whose every weight matters; the vocabulary is :data:`NAMES`."""
    torch.manual_seed(0)
    return MODELS.build(config(system, folder).model).apply(_shake).eval()


def config(system, folder) -> Config:
    """Its config; the text vectors lie in the folder."""
    path = folder / f'{system.__name__}.safetensors'
    generator = torch.Generator().manual_seed(7)
    vectors = torch.randn(len(NAMES), *SYSTEMS[system], generator=generator)
    save_embeddings(path, NAMES, vectors)
    model = dict(
        type='OpenVocabSegmentor',
        data_preprocessor=PIXELS,
        text_encoder=dict(type='PrecomputedTextEncoder', path=str(path)),
        vocabulary=NAMES,
        **system(),
    )
    return Config(dict(default_scope='mmseg', model=model))


def _shake(module: torch.nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.data.add_(0.2 * torch.randn_like(parameter))
