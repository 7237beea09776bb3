"""ClearCLIP on CLIP ViT-B/16: queries attend to queries, without residual and MLP.

Shorter side 448 and windows of 448 x 448 at stride 224; of 224 x 224 in Cityscapes.
"""

_base_ = ['../_base_/models/sclip.py', '../_base_/default_runtime.py']

model = dict(
    data_preprocessor=dict(size=(448, 448)),
    backbone=dict(last_block=dict(preset='clearclip')),
    test_cfg=dict(crop_size=(448, 448), stride=(224, 224), logit_scale=50),
)
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    dict(type='PackSegInputs'),
]
data_overrides = {
    'voc21': dict(
        model=dict(test_cfg=dict(min_probability=0.5)),
        default_hooks=dict(vocabulary=dict(vocabulary='clearclip_voc21')),
    ),
    'context60': dict(model=dict(test_cfg=dict(min_probability=0.15))),
    'coco-object': dict(
        model=dict(test_cfg=dict(min_probability=0.4)),
        default_hooks=dict(vocabulary=dict(vocabulary='clearclip_coco_object')),
    ),
    'voc20': dict(default_hooks=dict(vocabulary=dict(vocabulary='clearclip_voc20'))),
    'cityscapes': dict(
        model=dict(test_cfg=dict(crop_size=(224, 224))), test_pipeline=test_pipeline
    ),
}
