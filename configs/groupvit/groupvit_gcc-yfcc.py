"""GroupViT trained on captions of Conceptual Captions and YFCC."""

_base_ = ['../_base_/models/groupvit.py', '../_base_/default_runtime.py']

_weights = dict(
    type='Pretrained',
    checkpoint='https://huggingface.co/nvidia/groupvit-gcc-yfcc/resolve/main/'
    'pytorch_model.bin',
)
model = dict(
    backbone=dict(init_cfg=_weights),
    text_encoder=dict(init_cfg=_weights),
    decode_head=dict(init_cfg=_weights),
)
del _weights
