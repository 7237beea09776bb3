"""ProxyCLIP on CLIP ViT-L/14 with the attention of DINOv3 ViT-L/16: a new mixture.

The weights of DINOv3 are gated: put Meta's file into ``weights/``.
"""

_base_ = './proxyclip_clip-l14_dino-b8.py'

model = dict(
    backbone=dict(
        proxy=dict(
            _delete_=True,
            type='DINOv3',
            arch='large',
            fit='resize',
            init_cfg=dict(
                type='Pretrained',
                checkpoint='weights/dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth',
            ),
        )
    )
)
