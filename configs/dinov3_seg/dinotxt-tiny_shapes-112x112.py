"""The image and text encoders of the tiny dinov3.seg, trained on the seen classes.

There is no published dino.txt of this size to start from. Only the half of the text
vector that is compared with patches is trained here.
"""

_base_ = '../text_similarity/text-similarity_mit-tiny_shapes-112x112.py'

channels = 96
model = dict(
    backbone=dict(
        _delete_=True,
        type='BackboneWithNeck',
        backbone=dict(
            type='DINOv3',
            arch=dict(embed_dims=channels, depth=4, num_heads=3, feed_forward='mlp'),
            num_registers=1,
            patch_size=8,
            layer_scale=None,
            extra_outputs=('cls_token', 'registers'),
        ),
        neck=dict(
            type='DinoTxtVisionHead', embed_dims=channels, num_heads=3, num_blocks=1
        ),
    ),
    neck=None,
    text_encoder=dict(
        _delete_=True,
        type='DinoTxtTextEncoder',
        part='patch',
        embed_dims=channels,
        width=32,
        depth=1,
        num_heads=2,
        context_length=16,
        templates='identity',
        template_average='raw',
        chunk_size=128,
        trainable=True,
    ),
    decode_head=dict(in_channels=channels, text_channels=channels),
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
