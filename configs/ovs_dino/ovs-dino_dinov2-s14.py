"""OVS-DINO on DINOv2 ViT-S/14: a quarter of the weights of ViT-B."""

_base_ = './ovs-dino_dinov2-b14.py'

model = dict(
    backbone=dict(
        arch='small',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/'
            'dinov2_vits14_pretrain.pth'
        ),
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
    decode_head=dict(in_channels=384),
)
