"""AnyUp for the tiny dinov3.seg, trained on crops; the towers are trained before."""

_base_ = './dinov3-seg_tiny_shapes-112x112.py'

model = dict(
    _delete_=True,
    type='CropReconstruction',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    neck=_base_.early_refinement,
)
train_dataloader = dict(batch_size=2)
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = test_evaluator = test_cfg = None
max_iters = 360
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, _delete_=True)
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_iters)
]
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.0))
# neither words nor labels
default_hooks = dict(
    _delete_=True,
    checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=max_iters),
    checkpoint_guard=dict(type='CheckpointGuardHook'),
    check_finite=dict(type='CheckFiniteHook'),
)
