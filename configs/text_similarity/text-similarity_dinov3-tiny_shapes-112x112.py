"""The tiny model on a plain ViT of DINOv3's architecture, stride 8, without a neck."""

_base_ = './text-similarity_mit-tiny_shapes-112x112.py'

channels = 96
model = dict(
    backbone=dict(
        _delete_=True,
        type='DINOv3',
        arch=dict(embed_dims=channels, depth=4, num_heads=3, feed_forward='mlp'),
        num_registers=0,
        patch_size=8,
        layer_scale=None,
    ),
    neck=None,
    text_encoder=dict(model=dict(embed_dim=channels)),
    decode_head=dict(in_channels=channels, text_channels=channels, in_index=-1),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))

# every weight gets a gradient here
find_unused_parameters = False
