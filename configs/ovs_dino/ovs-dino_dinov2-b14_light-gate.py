"""OVS-DINO with a separable gate: 1.2 million weights instead of 10.6."""

_base_ = './ovs-dino_dinov2-b14.py'

model = dict(
    neck=[
        dict(type='StructureAwareEncoder', in_channels=[768] * 6, out_channels=256),
        dict(
            type='StructureModulatedDecoder',
            in_channels=256,
            channels=768,
            gate=dict(type='PreservationGate', separable=True),
        ),
    ],
)
