"""Talk2DINO: cosine of DINO's patches with CLIP's text, mapped by a small MLP.

Windows of 448 x 448 at stride 224 are resized to 448 x 448 whatever their aspect; PAMR
refines each window, as in all headline figures. Background cleaning is added where the
authors do (VOC21, COCO-Object).
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
    backbone=dict(
        type='DINOv2',
        arch='base',
        num_registers=4,
        trainable=False,
        extra_outputs=('cls_attention',),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/'
            'dinov2_vitb14_reg4_pretrain.pth',
        ),
    ),
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        templates='imagenet_7',
        template_average='raw',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(type='Talk2DINOHead', in_channels=768, text_channels=512),
    postprocessors=[dict(type='PAMR')],
    test_cfg=dict(
        mode='slide', crop_size=(448, 448), stride=(224, 224), input_size=(448, 448)
    ),
)
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    dict(type='PackSegInputs'),
]

_clean = [dict(type='BackgroundCleaning', weight=0.2), dict(type='PAMR')]
_rule = dict(vocabulary=dict(background=dict(type='threshold', value=0.55)))
data_overrides = {
    'voc21': dict(model=dict(postprocessors=_clean), default_hooks=_rule),
    'context60': dict(default_hooks=_rule),
    'coco-object': dict(model=dict(postprocessors=_clean), default_hooks=_rule),
}
train_overrides = {
    'coco-captions': dict(
        schedule='talk2dino_100e',
        default_hooks=dict(
            checkpoint=dict(by_epoch=True, interval=10, max_keep_ckpts=3)
        ),
        # the projection starts from scratch
        model=dict(decode_head=dict(text_projection=dict(init_cfg=None))),
    )
}
del _clean, _rule
