"""A tiny open-vocabulary model learned from scratch on the embedded shapes set.

MMSegmentation's own hierarchical transformer (SegFormer's, cut down) and FPN with a
small text tower of CLIP's, trained together: the score of a class at a position is the
cosine of the two. Classes that were never in the training images are segmented by
their names. ``tools/demo.py`` trains it in a few minutes on two CPU cores.
"""

_base_ = ['../_base_/datasets/shapes.py', '../_base_/default_runtime.py']

channels = 64
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=dict(
        type='OpenVocabDataPreProcessor',
        mean=[127.5, 127.5, 127.5],
        std=[63.75, 63.75, 63.75],
        bgr_to_rgb=True,
        size=(112, 112),
    ),
    # Overlapping patches at stride 4: shapes are learned several times faster than by
    # a plain ViT with patches of 8.
    backbone=dict(
        type='MixVisionTransformer',
        embed_dims=24,
        num_stages=3,
        num_layers=[1, 2, 2],
        num_heads=[1, 2, 4],
        patch_sizes=[7, 3, 3],
        strides=[4, 2, 2],
        sr_ratios=[4, 2, 1],
        out_indices=(0, 1, 2),
        mlp_ratio=4,
    ),
    neck=dict(type='FPN', in_channels=[24, 48, 96], out_channels=channels, num_outs=3),
    # One layer that is narrow: names are then read word by word, which is what carries
    # over to combinations never seen.
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model=dict(
            embed_dim=channels,
            text_cfg=dict(context_length=16, width=32, heads=2, layers=1),
        ),
        templates='identity',
        template_average='raw',
        chunk_size=128,
        trainable=True,
    ),
    decode_head=dict(
        type='TextSimilarityHead',
        in_channels=channels,
        text_channels=channels,
        in_index=0,
        logit_scale=10.0,
        num_points=256,
        balanced_points=True,
        loss_classes='labelled',
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    test_cfg=dict(mode='whole'),
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.02),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
max_iters = 2000
warmup = 150
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=warmup, end=max_iters),
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
# DDP has to know: nothing reads the coarser outputs of the FPN.
find_unused_parameters = True
