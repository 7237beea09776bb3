"""SAN on CLIP ViT-B/16: a side network proposes masks, frozen CLIP classifies them.

The test of MMSegmentation: shorter side 640, longer side 2560 at most, padded to
multiples of 32; CLIP sees the image at half its size.
"""

data_preprocessor = dict(
    type='OpenVocabDataPreProcessor',
    # CLIP's
    mean=[122.7709, 116.7460, 104.0937],
    std=[68.5005, 66.6322, 70.3232],
    bgr_to_rgb=True,
    size=(640, 640),
)
_gelu = dict(type='QuickGELU')
_norm = dict(type='LN', eps=1e-5)
model = dict(
    type='OpenVocabSAN',
    data_preprocessor=data_preprocessor,
    encoder_resolution=0.5,
    # CLIP's first nine layers; the last three are the head's
    image_encoder=dict(
        type='VisionTransformer',
        img_size=(224, 224),
        patch_size=16,
        patch_pad=0,
        embed_dims=768,
        num_layers=9,
        num_heads=12,
        out_origin=True,
        out_indices=(2, 5, 8),
        output_cls_token=True,
        patch_bias=False,
        pre_norm=True,
        norm_cfg=_norm,
        act_cfg=_gelu,
        interpolate_mode='bicubic',
        frozen_exclude=['pos_embed'],
    ),
    text_encoder=dict(
        type='SANTextEncoder',
        encoder=dict(
            type='OpenCLIPTextEncoder',
            model='ViT-B-16-quickgelu',
            templates='vild',
            cache_dir='data/text_embeddings',
        ),
    ),
    decode_head=dict(
        type='SideAdapterCLIPHead',
        num_classes=171,  # the vocabulary replaces it
        deep_supervision_idxs=[7],
        san_cfg=dict(
            in_channels=3,
            clip_channels=768,
            embed_dims=240,
            patch_size=16,
            patch_bias=True,
            num_queries=100,
            cfg_encoder=dict(num_encode_layer=8, num_heads=6, mlp_ratio=4),
            fusion_index=[0, 1, 2, 3],
            cfg_decoder=dict(
                num_heads=12,
                num_layers=1,
                embed_channels=256,
                mlp_channels=256,
                num_mlp=3,
                rescale=True,
            ),
            norm_cfg=dict(type='LN', eps=1e-6),
        ),
        maskgen_cfg=dict(
            sos_token_format='cls_token',
            sos_token_num=100,
            cross_attn=False,
            num_layers=3,
            embed_dims=768,
            num_heads=12,
            mlp_ratio=4,
            qkv_bias=True,
            out_dims=512,
            final_norm=True,
            act_cfg=_gelu,
            norm_cfg=_norm,
            frozen_exclude=[],
        ),
        align_corners=False,
        train_cfg=None,
    ),
    test_cfg=dict(mode='whole'),
)
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='ResizeShortestEdge', scale=(640, 640), max_size=2560),
    dict(type='PackSegInputs'),
]
del _gelu, _norm
