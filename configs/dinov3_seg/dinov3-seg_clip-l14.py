"""Ablation: CLIP ViT-L/14 in place of dino.txt; everything behind it stays.

CLIP is CAT-Seg's: weights for images of 336 x 336, the last block that keeps patches in
the space of text. It has one text vector a name. Sizes are the multiples of its patch
next to 640, 384 and 128; the prior sees images at the next multiple of its own patch.
"""

_base_ = './dinov3-seg_l16.py'

clip = 'ViT-L-14-336-quickgelu'
mean = [122.7709383, 116.7460125, 104.09373615]
std = [68.5005327, 66.6321579, 70.3231630]
prior = _base_.semantic_prior
model = dict(
    data_preprocessor=dict(mean=mean, std=std),
    backbone=dict(
        _delete_=True,
        type='OpenCLIPImageEncoder',
        model=clip,
        pretrained='openai',
        last_block='catseg',
        trainable='query_value',
    ),
    neck=[
        dict(_base_.early_refinement, mean=mean, std=std),
        dict(
            prior,
            backbone=dict(prior.backbone, fit='resize'),
            strides=(14, 14, 14),
            mean=mean,
            std=std,
        ),
    ],
    text_encoder=dict(
        _delete_=True,
        type='OpenCLIPTextEncoder',
        model=clip,
        pretrained='openai',
        templates='single',
        template_average='raw',
        cache_dir='data/text_embeddings',
        trainable=False,
    ),
    decode_head=dict(
        in_channels=768,
        stride=14,
        text_parts=1,
        prompt_channels=1,
        decoder_guidance=[
            dict(index=2, channels=1024, stride=14, upsampled_channels=256),
            dict(index=1, channels=1024, stride=14, upsampled_channels=128),
        ],
    ),
    train_cfg=dict(input_size=(392, 392)),
    test_cfg=dict(image_size=(644, 644), crop_size=(392, 392), stride=(126, 126)),
)
