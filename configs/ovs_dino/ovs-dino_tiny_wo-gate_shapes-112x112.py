"""The tiny OVS-DINO with the modulation map instead of the backbone's features."""

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
            gate=None,
            norm_cfg=norm,
        ),
    ],
)
# DDP has to know: without the gate nothing goes through DINO's last norm.
find_unused_parameters = True
