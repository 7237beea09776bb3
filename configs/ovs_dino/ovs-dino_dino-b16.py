"""OVS-DINO on DINO (the first) ViT-B/16 (paper, appendix B).

28 x 28 patches at 448: the encoder's map is 56 x 56, so SAM sees images at 896.
"""

_base_ = './ovs-dino_dinov2-b14.py'

model = dict(
    backbone=dict(
        patch_size=16,
        img_size=224,
        layer_scale=None,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/'
            'dino_vitbase16_pretrain.pth'
        ),
    ),
    auxiliary_head=dict(input_size=(896, 896)),
)
