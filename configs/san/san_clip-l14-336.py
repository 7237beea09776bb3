"""SAN on CLIP ViT-L/14 for images of 336 x 336, with the weights of MMSegmentation."""

_base_ = ['../_base_/models/san.py', '../_base_/default_runtime.py']

model = dict(
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/san/'
        'san-vit-l14_20230907-a11e098f.pth',
    ),
    encoder_resolution=0.7,
    image_encoder=dict(
        img_size=(336, 336),
        patch_size=14,
        embed_dims=1024,
        num_layers=18,
        num_heads=16,
        out_indices=(5, 11, 17),
    ),
    text_encoder=dict(encoder=dict(model='ViT-L-14-336-quickgelu')),
    decode_head=dict(
        san_cfg=dict(clip_channels=1024, cfg_decoder=dict(num_heads=16)),
        maskgen_cfg=dict(num_layers=6, embed_dims=1024, num_heads=16, out_dims=768),
    ),
)
