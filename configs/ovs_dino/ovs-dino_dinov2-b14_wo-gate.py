"""Ablation 'w/o PG' (paper, table 2): the modulation map instead of DINO's features."""

_base_ = './ovs-dino_dinov2-b14.py'

model = dict(
    neck=[
        dict(type='StructureAwareEncoder', in_channels=[768] * 6, out_channels=256),
        dict(
            type='StructureModulatedDecoder', in_channels=256, channels=768, gate=None
        ),
    ],
)

# DDP has to know: without the gate nothing goes through DINO's last norm.
train_overrides = {
    name: dict(find_unused_parameters=True)
    for name in ('coco-pseudo-masks', 'coco-pseudo-masks-teacher-features')
}
