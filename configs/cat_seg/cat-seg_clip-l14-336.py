"""CAT-Seg (L) as published: CLIP ViT-L/14 for images of 336 x 336."""

_base_ = ['../_base_/models/cat_seg.py', '../_base_/default_runtime.py']

clip = 'ViT-L-14-336-quickgelu'
model = dict(
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://huggingface.co/spaces/hamacojr/CAT-Seg-weights/resolve/'
        'main/model_large.pth',
    ),
    backbone=dict(model=clip, out_indices=(7, 15, 23)),
    text_encoder=dict(model=clip),
    decode_head=dict(
        in_channels=768,
        stride=14,
        appearance_guidance=dict(channels=768),
        decoder_guidance=[
            dict(index=0, channels=1024, stride=14, upsampled_channels=256),
            dict(index=1, channels=1024, stride=14, upsampled_channels=128),
        ],
    ),
    # crops of 384 x 384 come to CLIP at its own size
    train_cfg=dict(input_size=(336, 336), input_antialias=False),
    test_cfg=dict(input_size=(336, 336)),
)
