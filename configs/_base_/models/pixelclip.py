"""PixelCLIP on CLIP ViT-B/16.

Images are stretched to 320 x 320, CLIP's dense features to 64 x 64; the cosines are
resized to the original size at once. The text tower is OpenAI's, eight templates.
"""

data_preprocessor = dict(
    type='OpenVocabDataPreProcessor',
    # CLIP's
    mean=[122.7709383, 116.7460125, 104.09373615],
    std=[68.5005327, 66.6321579, 70.3231630],
    bgr_to_rgb=True,
    size=(320, 320),
)
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='OpenCLIPImageEncoder',
        model='ViT-B-16-quickgelu',
        last_block='catseg',
        trainable=False,
    ),
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        templates='imagenet_select_8',
        template_average='synonyms',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(type='PixelCLIPHead', in_channels=512, text_channels=512),
    test_cfg=dict(
        mode='whole', input_size=(320, 320), input_antialias=False, resize_once=True
    ),
)
# Images come to the model as the authors' loader makes them (Pillow, antialiased).
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2560, 640), keep_ratio=True, backend='pillow'),
    dict(type='PackSegInputs'),
]

# 'diningtable' in place of 'table'.
data_overrides = {
    'context59': dict(
        default_hooks=dict(vocabulary=dict(vocabulary='pascal_context_59_catseg'))
    )
}
