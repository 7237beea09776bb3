"""MaskCLIP on CLIP ViT-B/16 of LAION-2B, as CLIP-DINOiser and LPOSS use it.

Shorter side 448. Names of classes are those of these two methods, where they are not
those of MMSegmentation.
"""

data_preprocessor = dict(
    type='OpenVocabDataPreProcessor',
    mean=[122.7709383, 116.7460125, 104.0937362],
    std=[68.5005327, 66.6321579, 70.3231638],
    bgr_to_rgb=True,
    size=(448, 448),
)
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='OpenCLIPImageEncoder',
        model='ViT-B-16',
        pretrained='laion2b_s34b_b88k',
        last_block='maskclip',
        trainable=False,
    ),
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model='ViT-B-16',
        pretrained='laion2b_s34b_b88k',
        templates='imagenet',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(type='TextSimilarityHead', in_channels=512, text_channels=512),
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)),
)
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    dict(type='PackSegInputs'),
]

_words = ('voc21', 'voc20', 'context60', 'context59', 'coco-object')
data_overrides = {
    name: dict(
        default_hooks=dict(
            vocabulary=dict(vocabulary='clip_dinoiser_' + name.replace('-', '_'))
        )
    )
    for name in _words
}
del _words
