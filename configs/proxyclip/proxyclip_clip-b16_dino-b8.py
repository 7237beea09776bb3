"""ProxyCLIP on CLIP ViT-B/16 with the attention of DINO ViT-B/8.

Windows of 336 x 336 at stride 112; of 224 x 224 in Cityscapes.
"""

_base_ = ['../_base_/models/sclip.py', '../_base_/default_runtime.py']

model = dict(
    data_preprocessor=dict(size=(336, 336)),
    backbone=dict(
        type='ProxyCLIPImageEncoder',
        proxy=dict(
            type='DINOv2',
            arch='base',
            patch_size=8,
            img_size=224,
            layer_scale=None,
            fit='resize',
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://dl.fbaipublicfiles.com/dino/'
                'dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth',
            ),
        ),
    ),
    test_cfg=dict(crop_size=(336, 336)),
)
_load = dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images'))
_larger = [
    _load,
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    dict(type='PackSegInputs'),
]
data_overrides = {
    'voc21': dict(
        model=dict(test_cfg=dict(min_probability=0.2)),
        default_hooks=dict(vocabulary=dict(vocabulary='proxyclip_voc21')),
    ),
    'context60': dict(model=dict(test_cfg=dict(min_probability=0.15))),
    'coco-object': dict(
        model=dict(test_cfg=dict(min_probability=0.25)),
        default_hooks=dict(vocabulary=dict(vocabulary='proxyclip_coco_object')),
    ),
    'voc20': dict(default_hooks=dict(vocabulary=dict(vocabulary='proxyclip_voc20'))),
    'cityscapes': dict(
        model=dict(test_cfg=dict(crop_size=(224, 224))), test_pipeline=_larger
    ),
    'ade20k': dict(test_pipeline=_larger),
}
del _load, _larger
