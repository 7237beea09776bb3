"""Talk2DINO on DINOv2 with registers ViT-B.

The authors' projection ``vitb_mlp_infonce.pth`` is read from ``weights/``; it is in
the folder ``weights`` of their repository lorebianchi98/Talk2DINO, which states no
licence.
"""

_base_ = ['../_base_/models/talk2dino.py', '../_base_/default_runtime.py']

model = dict(
    decode_head=dict(
        text_projection=dict(
            init_cfg=dict(type='Pretrained', checkpoint='weights/vitb_mlp_infonce.pth')
        ),
    ),
)
