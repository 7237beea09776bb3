"""Ablation 'four layers' (paper, table 3): blocks 3, 6, 9 and 12."""

_base_ = './ovs-dino_dinov2-b14.py'

model = dict(
    backbone=dict(
        out_indices=(2, 5, 8, 11, 11), final_norm=(False, False, False, False, True)
    ),
    neck=[
        dict(type='StructureAwareEncoder', in_channels=[768] * 4, out_channels=256),
        dict(
            type='StructureModulatedDecoder',
            in_channels=256,
            channels=768,
            gate=dict(type='PreservationGate'),
        ),
    ],
)
