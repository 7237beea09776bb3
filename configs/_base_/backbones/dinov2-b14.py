"""DINOv2 ViT-B/14 alone, as published: blocks before the final norm."""

data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    size=(448, 448),
)
model = dict(
    backbone=dict(
        type='DINOv2',
        arch='base',
        final_norm=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/'
            'dinov2_vitb14_pretrain.pth',
        ),
    )
)
