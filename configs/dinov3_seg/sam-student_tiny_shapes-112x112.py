"""A student of the tiny SAM on layers of the tiny dino.txt's image encoder.

Both are trained before, see ``dinov3-seg_tiny_shapes-112x112.py``.
"""

_base_ = './dinov3-seg_tiny_shapes-112x112.py'

channels = 96
teacher = dict(_base_.semantic_prior.backbone, out_indices=())
model = dict(
    _delete_=True,
    type='StudentAlignment',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=dict(
        type='DINOv3',
        arch=dict(embed_dims=channels, depth=4, num_heads=3, feed_forward='mlp'),
        num_registers=1,
        patch_size=8,
        layer_scale=None,
        out_indices=(0, 1, 2, 3, 3),
        final_norm=(False, False, False, False, True),
        init_cfg=dict(
            type='Pretrained', checkpoint=_base_.towers, prefix='backbone.backbone.'
        ),
    ),
    neck=dict(
        type='StructureAwareEncoder',
        in_channels=[channels] * 4,
        channels=64,
        out_channels=64,
        norm_cfg=dict(type='GN', num_groups=8),
    ),
    auxiliary_head=dict(type='AlignmentHead', teacher=teacher),
)
train_dataloader = dict(batch_size=8)
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = test_evaluator = test_cfg = None
train_cfg = dict(type='IterBasedTrainLoop', max_iters=500, _delete_=True)
# neither words nor labels
default_hooks = dict(
    _delete_=True,
    checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=500),
    checkpoint_guard=dict(type='CheckpointGuardHook'),
    check_finite=dict(type='CheckFiniteHook'),
)
