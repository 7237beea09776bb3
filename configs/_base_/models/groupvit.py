"""GroupViT of S/16 size: groups of patches compared with names.

The authors' evaluation: shorter side 448, windows of 448 x 448 at stride 224, one
template. The background of VOC21, COCO-Object and Context60 is what no group fits.
"""

data_preprocessor = dict(
    type='OpenVocabDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    size=(448, 448),
)
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(type='GroupViTImageEncoder'),
    text_encoder=dict(
        type='GroupViTTextEncoder',
        templates='simple',
        template_average='raw',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(type='GroupViTHead'),
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)),
)
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    dict(type='PackSegInputs'),
]

data_overrides = {
    'voc21': dict(
        model=dict(decode_head=dict(background_threshold=0.95)),
        default_hooks=dict(vocabulary=dict(vocabulary='groupvit_voc21')),
    ),
    'coco-object': dict(model=dict(decode_head=dict(background_threshold=0.95))),
    'context60': dict(
        model=dict(decode_head=dict(background_threshold=0.35)),
        default_hooks=dict(vocabulary=dict(vocabulary='groupvit_context60')),
    ),
}
