"""Talk2DINO on DINOv3 ViT-B.

The authors' projection ``dinov3_vitb_mlp_infonce.pth`` is downloaded from the folder
``weights`` of their repository lorebianchi98/Talk2DINO, which states no licence.

DINOv3's weights are gated: ask for access (DINOv3 License) and put the file into
``weights/``.
"""

_base_ = ['../_base_/models/talk2dino.py', '../_base_/default_runtime.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='DINOv3',
        arch='base',
        trainable=False,
        extra_outputs=('cls_attention',),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='weights/dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth',
        ),
    ),
    decode_head=dict(
        text_projection=dict(
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://raw.githubusercontent.com/lorebianchi98/Talk2DINO/'
                '4918c2df1d00c644ecc7f34de070694af1a8bc69/weights/'
                'dinov3_vitb_mlp_infonce.pth'
                '#sha256=6fc5ce7a05d8f1c829c174d87b861da0'
                '5399cf0bfe50de3711ac940115d85fcc',
            )
        ),
    ),
)
