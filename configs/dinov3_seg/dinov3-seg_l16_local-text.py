"""Ablation: only the half of the text vector that is aligned with the patches."""

_base_ = './dinov3-seg_l16.py'

model = dict(
    text_encoder=dict(part='patch'),
    decode_head=dict(text_parts=1, prompt_channels=1),
)
