"""COCO-Stuff train2017 as CAT-Seg augments it: shorter side 384, crop of 384 x 384.

The names differ from those of the test files in this folder, so that a config can
inherit one of each.
"""

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='LoadLabelMap', num_classes=171),
    dict(type='Resize', scale=(4096, 384), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(384, 384)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='COCOStuffDataset',
        data_root='data/coco_stuff164k',
        data_prefix=dict(
            img_path='images/train2017', seg_map_path='annotations/train2017'
        ),
        pipeline=train_pipeline,
    ),
)
