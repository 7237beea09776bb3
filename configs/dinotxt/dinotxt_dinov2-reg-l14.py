"""dino.txt on DINOv2 ViT-L with registers; all weights are downloaded."""

_base_ = ['../_base_/models/dinotxt.py', '../_base_/default_runtime.py']

source = 'https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_reg4_'
model = dict(
    backbone=dict(
        type='DINOv2',
        num_registers=4,
        init_cfg=dict(type='Pretrained', checkpoint=source + 'pretrain.pth'),
    ),
    neck=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint=source + 'dinotxt_tet1280d20h24l_vision_head.pth',
        )
    ),
    text_encoder=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint=source + 'dinotxt_tet1280d20h24l_text_encoder.pth',
        )
    ),
)
