"""The tiny dinov3.seg without SAM: ``sam-student_tiny_shapes-112x112`` is the prior."""

_base_ = './dinov3-seg_tiny_shapes-112x112.py'

model = dict(
    backbone=dict(
        backbone=dict(
            out_indices=(0, 1, 2, 3, 3),
            final_norm=(False, False, False, False, True),
        )
    ),
    neck=[
        _base_.early_refinement,
        dict(
            type='StructureAwareEncoder',
            in_channels=[96] * 4,
            channels=64,
            out_channels=64,
            norm_cfg=dict(type='GN', num_groups=8),
            init_cfg=dict(
                type='Pretrained',
                checkpoint='work_dirs/sam-student_tiny_shapes-112x112/iter_500.pth',
                prefix='neck.',
            ),
        ),
    ],
    decode_head=dict(
        in_index=1,
        appearance_guidance=dict(index=0, channels=64, stride=4),
        decoder_guidance=[
            dict(index=0, channels=64),
            dict(index=0, channels=64, stride=4, upsampled_channels=16),
        ],
    ),
)
