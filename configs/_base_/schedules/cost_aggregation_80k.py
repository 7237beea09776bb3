"""CAT-Seg's training: AdamW 2e-4, cosine over 80,000 steps, batch 4.

What is tuned of the image and text towers learns at a hundredth of the rate.
"""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(backbone=dict(lr_mult=0.01), text_encoder=dict(lr_mult=0.01)),
        norm_decay_mult=0.0,
    ),
)
max_iters = 80000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=20000)
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_iters)
]
auto_scale_lr = dict(enable=False, base_batch_size=4)
