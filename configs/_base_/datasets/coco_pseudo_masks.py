"""Masks of the nouns of COCO Captions 2017, made by ``tools/pseudo_masks``.

The names differ from those of the test files in this folder, so that a config can
inherit one of each.
"""

noun_mask_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='LoadNounMasks'),
    dict(type='Resize', scale=(1024, 1024)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackNounMasks'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='NounMasksDataset',
        data_root='data/coco',
        ann_file='pseudo_masks/train2017.json',
        data_prefix=dict(img_path='train2017'),
        pipeline=noun_mask_pipeline,
    ),
)
