"""The tiny OVS-DINO with a separable gate."""

_base_ = './ovs-dino_tiny_shapes-112x112.py'

norm = dict(type='GN', num_groups=8)
model = dict(
    neck=[
        dict(
            type='StructureAwareEncoder',
            in_channels=[96] * 4,
            channels=64,
            out_channels=64,
            norm_cfg=norm,
        ),
        dict(
            type='StructureModulatedDecoder',
            in_channels=64,
            channels=96,
            gate=dict(
                type='PreservationGate',
                hidden_channels=64,
                separable=True,
                norm_cfg=norm,
            ),
            norm_cfg=norm,
        ),
    ],
)
