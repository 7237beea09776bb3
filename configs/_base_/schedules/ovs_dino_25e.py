"""OVS-DINO's training: a warm-up epoch and 25 epochs of cosine, AdamW, batch 64.

The learning rates are lost from the paper's text: 1e-4 for what is new and 1e-5 for
DINO's last blocks are our reading, and so is the weight decay.
"""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=26)
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
        end=26,
        T_max=25,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=64)
