"""dinov3.seg without SAM: a student on DINOv3's own layers stands in for the prior.

The student, ``sam-student_l16`` trained before, reads four layers of the same pass and
gives a map at stride 8 that resembles SAM's. It guides the spatial blocks (averaged to
stride 16) and both decoder stages (the second upsampled to stride 4).
"""

_base_ = './dinov3-seg_l16.py'

model = dict(
    backbone=dict(
        backbone=dict(
            out_indices=(5, 11, 17, 23, 23),
            final_norm=(False, False, False, False, True),
        )
    ),
    neck=[
        _base_.early_refinement,
        dict(
            type='StructureAwareEncoder',
            in_channels=[1024] * 4,
            out_channels=256,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='work_dirs/sam-student_l16/iter_20000.pth',
                prefix='neck.',
            ),
        ),
    ],
    decode_head=dict(
        in_index=1,
        appearance_guidance=dict(index=0, channels=256, stride=8),
        decoder_guidance=[
            dict(index=0, channels=256),
            dict(index=0, channels=256, stride=8, upsampled_channels=128),
        ],
    ),
)
