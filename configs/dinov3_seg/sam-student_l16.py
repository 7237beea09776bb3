"""A student of SAM ViT-L on layers of DINOv3 ViT-L/16: the prior without SAM.

Images come at 1024 x 1024: so SAM sees them, DINOv3 sees them at 512 x 512. Only the
student is trained and saved; ``dinov3-seg_l16_wo-sam`` takes it.
"""

_base_ = [
    '../_base_/datasets/coco_images.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='StudentAlignment',
    data_preprocessor=dict(
        type='OpenVocabDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(1024, 1024),
    ),
    backbone=dict(
        type='DINOv3',
        arch='large',
        # The encoder hands on the last map; nothing reads it here.
        out_indices=(5, 11, 17, 23, 23),
        final_norm=(False, False, False, False, True),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='weights/dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth',
        ),
    ),
    input_size=(512, 512),
    neck=dict(type='StructureAwareEncoder', in_channels=[1024] * 4, out_channels=256),
    auxiliary_head=dict(
        type='AlignmentHead',
        teacher=dict(
            type='SAMImageEncoder',
            arch='vit_l',
            fused_attention=True,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://dl.fbaipublicfiles.com/segment_anything/'
                'sam_vit_l_0b3195.pth',
            ),
        ),
        input_size=(1024, 1024),
    ),
)

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01)
)
max_iters = 20000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=500, end=max_iters),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
# neither words nor labels
default_hooks = dict(
    _delete_=True,
    checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=5000),
    checkpoint_guard=dict(type='CheckpointGuardHook'),
    check_finite=dict(type='CheckFiniteHook'),
)
