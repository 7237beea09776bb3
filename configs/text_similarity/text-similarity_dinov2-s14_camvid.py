"""A projection of frozen DINOv2 S/14 patches and CLIP's class names, on CamVid.

Patches and words meet in 256 channels; only the two projections are trained. With other
weights and with text vectors from a file instead of the tower:

    --cfg-options model.backbone.init_cfg.checkpoint=dino.pth \\
        model.text_encoder._delete_=True model.text_encoder.path=names.safetensors \\
        model.text_encoder.type=PrecomputedTextEncoder model.decode_head.text_channels=D
"""

_base_ = ['../_base_/datasets/camvid.py', '../_base_/default_runtime.py']

model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=dict(
        type='OpenVocabDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(336, 336),
    ),
    backbone=dict(
        type='DINOv2',
        arch='small',
        trainable=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/'
            'dinov2_vits14_pretrain.pth',
        ),
    ),
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        templates='imagenet_7',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(
        type='TextSimilarityHead',
        in_channels=384,
        text_channels=512,
        channels=256,
        logit_scale=10.0,
    ),
    test_cfg=dict(mode='whole'),
)

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
max_iters = 2000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_iters)
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
