"""The project's config: its data and head, with DINOv3 and AnyUp in front."""

_base_ = 'mmseg::_base_/default_runtime.py'

# mmseg_ovs first: with mmcv-lite, the project's own imports of mmseg need it.
custom_imports = dict(imports=['mmseg_ovs', 'weeds'], allow_failed_imports=False)

crop_size = (512, 512)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],  # what DINOv3 and AnyUp were trained with
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=crop_size,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=16),  # sides that the patches divide
    ),
    backbone=dict(
        type='BackboneWithNeck',
        backbone=dict(
            type='DINOv3',
            arch='base',
            trainable=False,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='weights/dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth',
            ),
        ),
        # four times finer: a position every 4 pixels instead of every 16
        neck=dict(
            type='AnyUp',
            output_size=4,
            trainable=False,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://github.com/wimmerth/anyup/releases/download/'
                'checkpoint_v2/anyup_multi_backbone.pth',
            ),
        ),
    ),
    decode_head=dict(
        type='WeedsHead',
        in_channels=768,
        in_index=0,
        channels=256,
        num_classes=3,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(384, 384)),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='WeedsDataset',
        data_root='data/weeds',
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=train_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='WeedsDataset',
        data_root='data/weeds',
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        pipeline=test_pipeline,
    ),
)
val_dataloader = test_dataloader
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
val_evaluator = test_evaluator

train_cfg = dict(type='IterBasedTrainLoop', max_iters=4000, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4000)
)
