"""ProxyCLIP on OpenCLIP ViT-H/14 (LAION-2B) with the attention of DINO ViT-B/8."""

_base_ = './proxyclip_clip-b16_dino-b8.py'

clip = dict(model='ViT-H-14', pretrained='laion2b_s32b_b79k')
model = dict(
    backbone=clip,
    text_encoder=clip,
    decode_head=dict(in_channels=1024, text_channels=1024),
)
