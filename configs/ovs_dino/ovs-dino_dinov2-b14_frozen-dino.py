"""Ablation 'frozen DINO' (paper, table 3): no block of DINO is trained."""

_base_ = './ovs-dino_dinov2-b14.py'

model = dict(backbone=dict(trainable=False))
