"""ProxyCLIP on CLIP ViT-L/14 with the attention of DINO ViT-B/8."""

_base_ = './proxyclip_clip-b16_dino-b8.py'

clip = 'ViT-L-14-quickgelu'
model = dict(
    backbone=dict(model=clip),
    text_encoder=dict(model=clip),
    decode_head=dict(in_channels=768, text_channels=768),
)
