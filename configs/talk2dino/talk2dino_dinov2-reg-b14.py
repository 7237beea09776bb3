"""Talk2DINO on DINOv2 with registers ViT-B.

The authors' projection ``vitb_mlp_infonce.pth`` is downloaded from the folder
``weights`` of their repository lorebianchi98/Talk2DINO, which states no licence.
"""

_base_ = ['../_base_/models/talk2dino.py', '../_base_/default_runtime.py']

model = dict(
    decode_head=dict(
        text_projection=dict(
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://raw.githubusercontent.com/lorebianchi98/Talk2DINO/'
                '4918c2df1d00c644ecc7f34de070694af1a8bc69/weights/'
                'vitb_mlp_infonce.pth'
                '#sha256=5f6efcc520f22916ecf3dfdfb01d6f57'
                'e701c1c2e1feda71a80d89e3cd752f0f',
            )
        ),
    ),
)
