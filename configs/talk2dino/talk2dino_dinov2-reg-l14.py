"""Talk2DINO on DINOv2 with registers ViT-L.

The authors' projection ``vitl_mlp_infonce.pth`` is downloaded from the folder
``weights`` of their repository lorebianchi98/Talk2DINO, which states no licence.
"""

_base_ = ['../_base_/models/talk2dino.py', '../_base_/default_runtime.py']

model = dict(
    backbone=dict(
        arch='large',
        num_registers=4,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/'
            'dinov2_vitl14_reg4_pretrain.pth',
        ),
    ),
    decode_head=dict(
        in_channels=1024,
        text_projection=dict(
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://raw.githubusercontent.com/lorebianchi98/Talk2DINO/'
                '4918c2df1d00c644ecc7f34de070694af1a8bc69/weights/'
                'vitl_mlp_infonce.pth',
            )
        ),
    ),
)

_rule = dict(vocabulary=dict(background=dict(type='threshold', value=0.54)))
data_overrides = {
    name: dict(default_hooks=_rule) for name in ('voc21', 'context60', 'coco-object')
}
del _rule
