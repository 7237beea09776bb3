"""LPOSS: MaskCLIP's scores, propagated over the patches that DINO finds alike.

Shorter side 448, windows of 224 x 224 at stride 112, cosines without a softmax. The
patches of all windows of an image are one graph.
"""

_base_ = ['../_base_/models/maskclip_laion.py', '../_base_/default_runtime.py']

model = dict(
    data_preprocessor=dict(size=(224, 224)),
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
    test_cfg=dict(
        crop_size=(224, 224),
        stride=(112, 112),
        propagation=dict(
            neighbours=400, alpha=0.95, gamma=3.0, sigma=0.01, iterations=10
        ),
        best_name_before_resize=True,
    ),
)
# In the place of the word 'background'.
_scenery = ['sky', 'wall', 'tree', 'wood', 'grass', 'road', 'sea', 'river', 'mountain']
_scenery += ['sands', 'desk', 'bed', 'building', 'cloud']
_rooms = ['lamp', 'door', 'window', 'wardrobe', 'ceiling', 'shelf', 'curtain', 'stair']
_more = {
    'voc21': [*_rooms, 'floor', 'hill', 'rail', 'fence'],
    'coco-object': ['floor', 'hill', 'rail'],
}
data_overrides = {
    name: dict(
        default_hooks=dict(
            vocabulary=dict(background=dict(type='names', names=_scenery + more))
        )
    )
    for name, more in _more.items()
}
del _scenery, _rooms, _more
