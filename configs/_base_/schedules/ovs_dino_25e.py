"""OVS-DINO's training: 25 epochs, the first a warm-up, then cosine; AdamW, batch 64.

The text of the paper that we had lacks its numbers: learning rates of 1e-4 for what is
new and 1e-5 for DINO's last blocks are our reading, and so is the weight decay.
"""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=25)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.01,
        begin=0,
        end=1,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        begin=1,
        end=25,
        T_max=24,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=64)
