"""The same chain without any weights, in seconds on a CPU; what the tests run."""

_base_ = './weeds_dinov3-b16_anyup.py'

crop_size = (64, 64)
arch = dict(embed_dims=48, depth=2, num_heads=3, feed_forward='mlp')
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        backbone=dict(arch=dict(_delete_=True, **arch), init_cfg=None),
        neck=dict(qk_dim=16, init_cfg=None),
    ),
    decode_head=dict(in_channels=48, channels=16),
    test_cfg=dict(crop_size=crop_size, stride=(48, 48)),
)
train_pipeline = _base_.train_pipeline
train_pipeline[2].update(crop_size=crop_size)
train_dataloader = dict(num_workers=0, dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(num_workers=0)
val_dataloader = test_dataloader

train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
