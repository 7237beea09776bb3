"""TCL: masks of text, learned from image-caption pairs, on CLIP ViT-B/16.

The authors' evaluation: shorter side 448, windows of 448 x 448 at stride 224; on the
masker's grid PAMR refines the masks and CLIP's own scores take a share of 0.3. Class
names are MMSegmentation's; a background class has the constant score 0.4.
"""

_base_ = ['../_base_/default_runtime.py']

data_preprocessor = dict(
    type='OpenVocabDataPreProcessor',
    # ImageNet's, not CLIP's
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    size=(448, 448),
)
_published = 'https://github.com/kakaobrain/tcl/releases/download/v1.0.0/tcl.pth'
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='OpenCLIPImageEncoder',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        last_block='maskclip',
        # what the masker starts from, and MaskCLIP's output
        out_indices=(10, 11),
        final_norm=(False, True),
        fit='resize',
        trainable=False,
    ),
    neck=dict(
        type='TCLMasker',
        init_cfg=dict(
            type='Pretrained', checkpoint=_published, prefix='masker.image_encoder'
        ),
    ),
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        templates='tcl_9',
        template_average='raw',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(
        type='TCLHead',
        init_cfg=dict(
            type='Pretrained', checkpoint=_published, prefix='masker.sim2mask'
        ),
    ),
    postprocessors=[dict(type='PAMR', stage='grid'), dict(type='ScoreMix', weight=0.3)],
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)),
)
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    dict(type='PackSegInputs'),
]

_rule = dict(vocabulary=dict(background=dict(type='threshold', value=0.4)))
data_overrides = {
    name: dict(default_hooks=_rule) for name in ('voc21', 'context60', 'coco-object')
}
del _rule, _published
