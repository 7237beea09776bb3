"""SAM's ViT-B image encoder alone, as published: blocks without the neck."""

data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    size=(1024, 1024),
)
model = dict(
    backbone=dict(
        type='SAMImageEncoder',
        arch='vit_b',
        out_indices=-1,
        neck_output=False,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/segment_anything/'
            'sam_vit_b_01ec64.pth',
        ),
    )
)
