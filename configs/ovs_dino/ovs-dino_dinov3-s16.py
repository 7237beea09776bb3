"""OVS-DINO on DINOv3 ViT-S/16.

28 x 28 patches at 448: the encoder's map is 56 x 56, so SAM sees images at 896. The
weights are gated: put Meta's file into ``weights/``.
"""

_base_ = './ovs-dino_dinov2-s14.py'

model = dict(
    backbone=dict(
        type='DINOv3',
        init_cfg=dict(
            checkpoint='weights/dinov3_vits16_pretrain_lvd1689m-08c60483.pth'
        ),
    ),
    auxiliary_head=dict(input_size=(896, 896)),
)
