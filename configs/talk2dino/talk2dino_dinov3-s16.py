"""Talk2DINO on DINOv3 ViT-S.

DINOv3's weights are gated: ask for access (DINOv3 License) and put the file into
``weights/``.
"""

_base_ = ['../_base_/models/talk2dino.py', '../_base_/default_runtime.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='DINOv3',
        arch='small',
        trainable=False,
        extra_outputs=('cls_attention',),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='weights/dinov3_vits16_pretrain_lvd1689m-08c60483.pth',
        ),
    ),
    decode_head=dict(
        in_channels=384,
    ),
)
