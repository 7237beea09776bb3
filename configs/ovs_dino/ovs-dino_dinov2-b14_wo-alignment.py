"""Ablation 'w/o SA' (paper, table 2): no alignment with SAM."""

_base_ = './ovs-dino_dinov2-b14.py'

model = dict(auxiliary_head=None)
