"""Ablation: CAT-Seg's inference, which averages logits instead of features.

For a checkpoint of ``dinov3-seg_l16``.
"""

_base_ = './dinov3-seg_l16.py'

model = dict(test_cfg=dict(aggregation='logits', stride=(256, 256)))
