"""A teacher for the tiny model: SAM's architecture, cut down, on the shapes set.

There is no published SAM of this size, so it learns from the labels of the seen
classes; its map has stride 4, twice as fine as the student's patches.
"""

_base_ = '../text_similarity/text-similarity_mit-tiny_shapes-112x112.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='SAMImageEncoder',
        arch=dict(
            embed_dims=64, depth=2, num_heads=2, global_attn_indexes=(1,), mlp_ratio=2
        ),
        img_size=112,
        patch_size=4,
        window_size=7,
        out_channels=64,
        fused_attention=True,
    ),
    neck=None,
)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
max_iters = 1000
warmup = 100
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=warmup, end=max_iters),
]
default_hooks = dict(checkpoint=dict(interval=max_iters))

# every weight gets a gradient here
find_unused_parameters = False
