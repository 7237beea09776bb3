"""Ablation: dino.txt's features as they are, without AnyUp."""

_base_ = './dinov3-seg_l16.py'

model = dict(neck=[_base_.semantic_prior])
