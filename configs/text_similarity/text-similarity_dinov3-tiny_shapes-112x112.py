"""A tiny open-vocabulary model learned from scratch on the embedded shapes set.

A ViT of DINOv3's architecture (stride 8) and a small text tower of CLIP's, trained
together: the score of a class at a patch is the cosine of the two. Classes that were
never in the training pictures are segmented by their names.
"""

_base_ = ['../_base_/datasets/shapes.py', '../_base_/default_runtime.py']

channels = 96
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=dict(
        type='OpenVocabDataPreProcessor',
        mean=[127.5, 127.5, 127.5],
        std=[63.75, 63.75, 63.75],
        bgr_to_rgb=True,
        size=(112, 112),
    ),
    backbone=dict(
        type='DINOv3',
        arch=dict(embed_dims=channels, depth=4, num_heads=3, feed_forward='mlp'),
        num_registers=0,
        patch_size=8,
        layer_scale=None,
    ),
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model=dict(
            embed_dim=channels,
            text_cfg=dict(context_length=16, width=64, heads=2, layers=2),
        ),
        templates='identity',
        template_average='raw',
        frozen=False,
    ),
    decode_head=dict(
        type='TextSimilarityHead',
        in_channels=channels,
        text_channels=channels,
        logit_scale=10.0,
        num_points=512,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    test_cfg=dict(mode='whole'),
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.02),
    clip_grad=dict(max_norm=1.0),
)
max_iters = 60
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=20, end=max_iters),
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
