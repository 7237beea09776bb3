"""Ablation: the towers' features as they are, without AnyUp."""

_base_ = './dinov3-seg_tiny_shapes-112x112.py'

model = dict(neck=[_base_.semantic_prior])
