"""OVS-DINO on DINOv2 ViT-B/14 with registers (paper, appendix B)."""

_base_ = './ovs-dino_dinov2-b14.py'

model = dict(
    backbone=dict(
        num_registers=4,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/'
            'dinov2_vitb14_reg4_pretrain.pth'
        ),
    ),
)
