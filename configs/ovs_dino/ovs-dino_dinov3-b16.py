"""OVS-DINO on DINOv3 ViT-B/16, which the paper does not try.

28 x 28 patches at 448: the encoder's map is 56 x 56, so SAM sees images at 896. The
weights are gated: put Meta's file into ``weights/``.
"""

_base_ = './ovs-dino_dinov2-b14.py'

model = dict(
    backbone=dict(
        type='DINOv3',
        init_cfg=dict(
            checkpoint='weights/dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth'
        ),
    ),
    auxiliary_head=dict(input_size=(896, 896)),
)
