"""OVS-DINO over a frozen DINOv2 S/14, on CamVid: labels are masks of their names.

SAM sees crops of 336 at 768, the encoder's map is 48 x 48.
"""

_base_ = '../text_similarity/text-similarity_dinov2-s14_camvid.py'

model = dict(
    backbone=dict(
        out_indices=(1, 3, 5, 7, 9, 11, 11),
        final_norm=(False, False, False, False, False, False, True),
    ),
    neck=[
        dict(type='StructureAwareEncoder', in_channels=[384] * 6, out_channels=256),
        dict(
            type='StructureModulatedDecoder',
            in_channels=256,
            channels=384,
            gate=dict(type='PreservationGate'),
        ),
    ],
    decode_head=dict(
        _delete_=True,
        type='OVSDINOHead',
        in_channels=384,
        text_channels=512,
        activation='sigmoid',
    ),
    auxiliary_head=dict(
        type='AlignmentHead',
        teacher=dict(
            type='SAMImageEncoder',
            arch='vit_b',
            fused_attention=True,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://dl.fbaipublicfiles.com/segment_anything/'
                'sam_vit_b_01ec64.pth',
            ),
        ),
        input_size=(768, 768),
    ),
)
