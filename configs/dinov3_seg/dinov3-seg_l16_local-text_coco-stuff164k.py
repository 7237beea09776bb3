"""Train the ablation on COCO-Stuff: 80,000 steps of four crops of 384 x 384."""

_base_ = [
    './dinov3-seg_l16_local-text.py',
    '../_base_/datasets/coco_stuff164k.py',
    '../_base_/datasets/coco_stuff164k_train_384x384.py',
    '../_base_/schedules/cost_aggregation_80k.py',
]

# Images are stretched once, from their own size, by local-global inference.
test_pipeline = _base_.test_pipeline
del test_pipeline[1]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader
