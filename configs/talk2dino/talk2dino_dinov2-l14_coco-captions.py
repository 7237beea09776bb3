"""Train Talk2DINO's projection for DINOv2 ViT-L on COCO Captions."""

_base_ = [
    './talk2dino_dinov2-l14.py',
    '../_base_/datasets/coco_captions.py',
    '../_base_/schedules/talk2dino_100e.py',
]

default_hooks = dict(checkpoint=dict(by_epoch=True, interval=10, max_keep_ckpts=3))
