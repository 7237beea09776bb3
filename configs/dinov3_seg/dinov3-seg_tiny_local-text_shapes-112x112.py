"""Ablation: only the half of the text vector that was trained with patches."""

_base_ = './dinov3-seg_tiny_shapes-112x112.py'

model = dict(
    text_encoder=dict(part='patch'),
    decode_head=dict(text_parts=1, prompt_channels=1),
)
