"""The tiny dinov3.seg that does not fall below its towers: what helped, in one config.

Not the paper's: frozen towers, a skip connection from the cosine to the logits,
cross-entropy between the classes of the batch and others that are trained, up to 24.
AnyUp is left out (it would be untrained), and images are tested as they are trained.
See "Why it stays below its towers" in the README.
"""

_base_ = './dinov3-seg_tiny_shapes-112x112.py'

model = dict(
    backbone=dict(trainable=False),
    neck=[_base_.semantic_prior],
    text_encoder=dict(trainable=False),
    decode_head=dict(
        cosine_scale=10,
        loss_classes='all',
        sampled_classes=24,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    test_cfg=dict(_delete_=True, mode='whole'),
)
# Classes that are never labelled: without this, training would know their names.
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        hidden_classes=[
            *('red ring', 'orange triangle', 'yellow arrow', 'green cross'),
            *('cyan square', 'blue crescent', 'purple star', 'pink disc'),
            *('plain cyan ground', 'striped orange ground', 'striped purple ground'),
            *('dotted green ground', 'checked red ground', 'checked blue ground'),
            *('wavy yellow ground', 'wavy pink ground'),
        ]
    ),
)
max_iters = 200
warmup = 20
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=warmup, end=max_iters),
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
