"""Talk2DINO on DINOv3 ViT-L.

The authors' projection ``dinov3_vitl_mlp_infonce.pth`` is downloaded from the folder
``weights`` of their repository lorebianchi98/Talk2DINO, which states no licence.

DINOv3's weights are gated: ask for access (DINOv3 License) and put the file into
``weights/``.
"""

_base_ = ['../_base_/models/talk2dino.py', '../_base_/default_runtime.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='DINOv3',
        arch='large',
        trainable=False,
        extra_outputs=('cls_attention',),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='weights/dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth',
        ),
    ),
    decode_head=dict(
        in_channels=1024,
        text_projection=dict(
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://raw.githubusercontent.com/lorebianchi98/Talk2DINO/'
                '4918c2df1d00c644ecc7f34de070694af1a8bc69/weights/'
                'dinov3_vitl_mlp_infonce.pth',
            )
        ),
    ),
)

_rule = dict(vocabulary=dict(background=dict(type='threshold', value=0.54)))
data_overrides = {
    name: dict(default_hooks=_rule) for name in ('voc21', 'context60', 'coco-object')
}
del _rule
