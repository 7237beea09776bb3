"""Train CAT-Seg on COCO-Stuff: 80,000 steps of four crops of 384 x 384.

Of both towers of CLIP the projections of queries and values are trained.
"""

_base_ = [
    './cat-seg_clip-b16.py',
    '../_base_/datasets/coco_stuff164k.py',
    '../_base_/datasets/coco_stuff164k_train_384x384.py',
    '../_base_/schedules/cost_aggregation_80k.py',
]

model = dict(
    init_cfg=None,
    backbone=dict(pretrained='openai', trainable='query_value'),
    text_encoder=dict(pretrained='openai', frozen=False, trainable='query_value'),
)

test_pipeline = _base_.test_pipeline
test_pipeline[1] = _base_.resize
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader
