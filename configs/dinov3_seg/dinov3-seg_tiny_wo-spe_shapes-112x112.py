"""Ablation: no Semantic Prior Encoder; nothing guides blocks and decoder."""

_base_ = './dinov3-seg_tiny_shapes-112x112.py'

model = dict(
    neck=[_base_.early_refinement],
    decode_head=dict(appearance_guidance=None, decoder_guidance=[]),
)
