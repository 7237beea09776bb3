"""Talk2DINO on DINOv2 ViT-L."""

_base_ = ['../_base_/models/talk2dino.py', '../_base_/default_runtime.py']

model = dict(
    backbone=dict(
        arch='large',
        num_registers=0,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/'
            'dinov2_vitl14_pretrain.pth',
        ),
    ),
    decode_head=dict(
        in_channels=1024,
    ),
)

_rule = dict(vocabulary=dict(background=dict(type='threshold', value=0.54)))
data_overrides = {
    name: dict(default_hooks=_rule) for name in ('voc21', 'context60', 'coco-object')
}
del _rule
