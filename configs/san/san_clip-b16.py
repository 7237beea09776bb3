"""SAN on CLIP ViT-B/16, with the weights of MMSegmentation."""

_base_ = ['../_base_/models/san.py', '../_base_/default_runtime.py']

model = dict(
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/san/'
        'san-vit-b16_20230906-fd0a7684.pth',
    )
)
