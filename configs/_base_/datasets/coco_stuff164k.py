"""COCO-Stuff val2017, 171 classes, at Talk2DINO's test size."""

dataset_type = 'COCOStuffDataset'
data_root = 'data/coco_stuff164k'
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    # After Resize: predictions are scored at the size of the original label.
    dict(type='LoadLabelMap', num_classes=171),
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
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
        pipeline=test_pipeline,
    ),
)
val_dataloader = test_dataloader

test_evaluator = dict(type='OpenVocabIoUMetric', iou_metrics=['mIoU'])
val_evaluator = test_evaluator

val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
