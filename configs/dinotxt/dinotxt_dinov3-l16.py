"""dino.txt on DINOv3 ViT-L.

The weights are gated: ask for access (DINOv3 License) and put both files into
``weights/``.
"""

_base_ = ['../_base_/models/dinotxt.py', '../_base_/default_runtime.py']

head_and_text = (
    'weights/dinov3_vitl16_dinotxt_vision_head_and_text_encoder-a442d8f5.pth'
)
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='weights/dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth',
        ),
    ),
    neck=dict(
        init_cfg=dict(
            type='Pretrained', checkpoint=head_and_text, prefix='visual_model.head'
        )
    ),
    text_encoder=dict(
        init_cfg=dict(type='Pretrained', checkpoint=head_and_text, prefix='text_model')
    ),
)
