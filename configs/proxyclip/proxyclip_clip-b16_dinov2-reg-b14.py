"""ProxyCLIP on CLIP ViT-B/16 with the attention of DINOv2 ViT-B/14 with registers."""

_base_ = './proxyclip_clip-b16_dino-b8.py'

model = dict(
    backbone=dict(
        proxy=dict(
            _delete_=True,
            type='DINOv2',
            arch='base',
            num_registers=4,
            fit='resize',
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/'
                'dinov2_vitb14_reg4_pretrain.pth',
            ),
        )
    )
)
