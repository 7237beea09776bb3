"""Ablation: CAT-Seg's inference, for a checkpoint of the whole tiny model."""

_base_ = './dinov3-seg_tiny_shapes-112x112.py'

model = dict(test_cfg=dict(aggregation='logits', stride=(32, 32)))
