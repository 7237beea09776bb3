"""ProxyCLIP on CLIP ViT-B/16 with the attention of SAM ViT-B.

SAM sees each window stretched to 1024 x 1024.
"""

_base_ = './proxyclip_clip-b16_dino-b8.py'

model = dict(
    backbone=dict(
        proxy_input_size=(1024, 1024),
        proxy=dict(
            _delete_=True,
            type='SAMImageEncoder',
            arch='vit_b',
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://dl.fbaipublicfiles.com/segment_anything/'
                'sam_vit_b_01ec64.pth',
            ),
        ),
    )
)
