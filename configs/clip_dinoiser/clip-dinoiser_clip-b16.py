"""CLIP-DINOiser on CLIP ViT-B/16 of LAION-2B: MaskCLIP pooled by learned correlations.

Shorter side 448, windows of 448 x 448 at stride 224. Scores are a softmax over all
names on the patch grid. In VOC21 and COCO-Object, uncertain patches of no object are
background, as the authors do.
"""

_base_ = '../_base_/default_runtime.py'

_weights = dict(
    type='Pretrained',
    checkpoint='https://github.com/wysoczanska/clip_dinoiser/raw/main/checkpoints/'
    'last.pt',
)
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
        out_indices=(-3, -1),
        final_norm=('norm2', True),
        trainable=False,
    ),
    neck=dict(type='CorrelationPooling', init_cfg=_weights),
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model='ViT-B-16',
        pretrained='laion2b_s34b_b88k',
        templates='imagenet',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(
        type='TextSimilarityHead',
        in_channels=512,
        text_channels=512,
        logit_scale=100.0,
        activation='softmax',
    ),
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)),
)
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    dict(type='PackSegInputs'),
]

# Where the authors' names of classes are not those of MMSegmentation.
_words = ('voc21', 'voc20', 'context60', 'context59', 'coco-object')
data_overrides = {
    name: dict(
        default_hooks=dict(
            vocabulary=dict(vocabulary='clip_dinoiser_' + name.replace('-', '_'))
        )
    )
    for name in _words
}
for _name in ('voc21', 'coco-object'):
    data_overrides[_name]['model'] = dict(
        postprocessors=[dict(type='UncertainBackground', init_cfg=_weights)]
    )
del _weights, _words, _name
