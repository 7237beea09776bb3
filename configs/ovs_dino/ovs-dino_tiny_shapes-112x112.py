"""OVS-DINO on the embedded shapes set: a tiny ViT, a text tower and a tiny SAM.

Everything is learned from scratch: there is no DINO of this size to start from. So the
class loss is that of the text-similarity models, cross-entropy between the classes of a
batch: the paper's binary losses, meant for features that are there already, take many
times as long. The teacher is that of ``sam-tiny_shapes-112x112.py``, trained before.
"""

_base_ = '../text_similarity/text-similarity_dinov3-tiny_shapes-112x112.py'

channels = 96
norm = dict(type='GN', num_groups=8)
model = dict(
    backbone=dict(
        out_indices=(0, 1, 2, 3, 3), final_norm=(False, False, False, False, True)
    ),
    neck=[
        dict(
            type='StructureAwareEncoder',
            in_channels=[channels] * 4,
            channels=64,
            out_channels=64,
            norm_cfg=norm,
        ),
        dict(
            type='StructureModulatedDecoder',
            in_channels=64,
            channels=channels,
            gate=dict(type='PreservationGate', hidden_channels=64, norm_cfg=norm),
            norm_cfg=norm,
        ),
    ],
    decode_head=dict(in_index=-1),
    auxiliary_head=dict(
        type='AlignmentHead',
        teacher=dict(
            type='SAMImageEncoder',
            arch=dict(
                embed_dims=64,
                depth=2,
                num_heads=2,
                global_attn_indexes=(1,),
                mlp_ratio=2,
            ),
            img_size=112,
            patch_size=4,
            window_size=7,
            out_channels=64,
            fused_attention=True,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='work_dirs/sam-tiny_shapes-112x112/iter_1000.pth',
                prefix='backbone.',
            ),
        ),
    ),
)
max_iters = 1000
warmup = 100
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=warmup, end=max_iters),
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
