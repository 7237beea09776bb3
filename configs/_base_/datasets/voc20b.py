"""PASCAL VOC 2012 val, 20 classes, then background, at Talk2DINO's test size.

The benchmark (PAS-20b) goes with the vocabulary 'voc_20b_catseg'.
"""

dataset_type = 'PascalVOC20bDataset'
data_root = 'data/VOCdevkit/VOC2012'
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    # After Resize: predictions are scored at the size of the original label.
    dict(type='LoadLabelMap'),
    dict(type='PackSegInputs'),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=test_pipeline,
    ),
)
val_dataloader = test_dataloader

test_evaluator = dict(type='OpenVocabIoUMetric', iou_metrics=['mIoU'])
val_evaluator = test_evaluator

val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
