"""LPOSS+ behind Talk2DINO; not in the paper.

Windows, images and weights are Talk2DINO's, the graphs LPOSS+'s. Propagated scores have
another scale than Talk2DINO's threshold, so the background has names, as in LPOSS.
"""

_base_ = '../talk2dino/talk2dino_dinov2-reg-b14.py'

model = dict(
    graph=dict(
        backbone=dict(
            type='DINOv2',
            arch='base',
            patch_size=16,
            img_size=224,
            layer_scale=None,
            final_norm='value',
            fit='resize',
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://dl.fbaipublicfiles.com/dino/'
                'dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth',
            ),
        )
    ),
    postprocessors=[dict(type='PixelPropagation')],
    test_cfg=dict(propagation=dict(), best_name_before_resize=True),
)
data_overrides = {
    '_delete_': True,
    'voc21': dict(
        default_hooks=dict(vocabulary=dict(vocabulary='proxyclip_voc21')),
    ),
    'coco-object': dict(
        default_hooks=dict(vocabulary=dict(vocabulary='proxyclip_coco_object')),
    ),
}
train_overrides = dict(_delete_=True)
