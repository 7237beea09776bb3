"""Train OVS-DINO on DINOv2 ViT-B/14 with registers on masks of COCO Captions."""

_base_ = [
    './ovs-dino_dinov2-reg-b14.py',
    '../_base_/datasets/coco_pseudo_masks.py',
    '../_base_/schedules/ovs_dino_25e.py',
]

default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1, max_keep_ckpts=3))
