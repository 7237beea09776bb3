_base_ = [
    './ovs-dino_dinov2-b14_wo-gate.py',
    '../_base_/datasets/coco_pseudo_masks.py',
    '../_base_/schedules/ovs_dino_25e.py',
]

default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1, max_keep_ckpts=3))
# DDP has to know: without the gate nothing goes through DINO's last norm.
find_unused_parameters = True
