"""Image-caption pairs of COCO 2014 train for Talk2DINO's training.

The names differ from those of the test files in this folder, so that a config can
inherit one of each.
"""

caption_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    # Shorter side 448 (bicubic, antialiased like the authors' Pillow resize), then
    # the middle 448 x 448.
    dict(
        type='Resize',
        scale=(100000, 448),
        keep_ratio=True,
        interpolation='bicubic',
        backend='pillow',
    ),
    dict(type='CenterCrop', crop_size=448),
    dict(
        type='PackSegInputs',
        meta_keys=('img_path', 'image_id', 'caption', 'ori_shape', 'img_shape'),
    ),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='COCOCaptionsDataset',
        data_root='data/coco',
        ann_file='annotations/captions_train2014.json',
        data_prefix=dict(img_path='train2014'),
        pipeline=caption_pipeline,
    ),
)
