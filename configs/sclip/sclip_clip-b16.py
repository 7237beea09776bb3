"""SCLIP on CLIP ViT-B/16: in the last block queries and keys attend to themselves."""

_base_ = ['../_base_/models/sclip.py', '../_base_/default_runtime.py']

model = dict(backbone=dict(last_block=dict(preset='sclip')))
data_overrides = {
    'voc21': dict(model=dict(test_cfg=dict(logit_scale=65, min_area=0.1))),
    'context60': dict(model=dict(test_cfg=dict(logit_scale=50))),
    'coco-object': dict(model=dict(test_cfg=dict(logit_scale=50))),
    'coco-stuff164k': dict(
        test_pipeline=[
            dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
            dict(type='Resize', scale=(2048, 448), keep_ratio=True),
            dict(type='PackSegInputs'),
        ]
    ),
}
