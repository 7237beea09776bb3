"""The control of the tiny OVS-DINO: the same backbone, head and losses, no necks."""

_base_ = './ovs-dino_tiny_shapes-112x112.py'

model = dict(
    backbone=dict(out_indices=-1, final_norm=True), neck=None, auxiliary_head=None
)
