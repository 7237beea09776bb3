"""SAM's features in the place of the encoder's at inference (paper, table 4).

For a checkpoint of ``ovs-dino_dinov2-b14``, whose encoder is left out.
"""

_base_ = './ovs-dino_dinov2-b14.py'

model = dict(
    neck=[
        dict(
            type='TeacherFeatures',
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
            input_size=(1024, 1024),
        ),
        dict(
            type='StructureModulatedDecoder',
            in_channels=256,
            channels=768,
            gate=dict(type='PreservationGate'),
        ),
    ],
)
default_hooks = dict(checkpoint_guard=dict(allow=[r'^neck\.0\.']))
