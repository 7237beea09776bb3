"""Ablation 'w/o Encoder' (paper, table 2): SAM's features, frozen, to the decoder.

Neither DINO nor the encoder. SAM sees a window of 448 at 1024, as in training; its map
of 64 x 64 is halved by the decoder to DINO's 32 x 32.
"""

_base_ = './ovs-dino_dinov2-b14.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='SAMImageEncoder',
        arch='vit_b',
        fused_attention=True,
        frozen_stages=12,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/segment_anything/'
            'sam_vit_b_01ec64.pth',
        ),
    ),
    neck=[
        dict(
            type='StructureModulatedDecoder', in_channels=256, channels=768, gate=None
        ),
    ],
    auxiliary_head=None,
    train_cfg=dict(input_size=(1024, 1024)),
    test_cfg=dict(input_size=(1024, 1024)),
)
