"""LPOSS: MaskCLIP's scores, propagated over the patches that DINO finds alike.

Shorter side 448, windows of 224 x 224 at stride 112, cosines without a softmax. The
patches of all windows of an image are one graph.
"""

_base_ = '../_base_/default_runtime.py'

data_preprocessor = dict(
    type='OpenVocabDataPreProcessor',
    mean=[122.7709383, 116.7460125, 104.0937362],
    std=[68.5005327, 66.6321579, 70.3231638],
    bgr_to_rgb=True,
    size=(224, 224),
)
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='OpenCLIPImageEncoder',
        model='ViT-B-16',
        pretrained='laion2b_s34b_b88k',
        last_block='maskclip',
        trainable=False,
    ),
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model='ViT-B-16',
        pretrained='laion2b_s34b_b88k',
        templates='imagenet',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(type='TextSimilarityHead', in_channels=512, text_channels=512),
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
        mode='slide',
        crop_size=(224, 224),
        stride=(112, 112),
        propagation=dict(
            neighbours=400, alpha=0.95, gamma=3.0, sigma=0.01, iterations=10
        ),
        best_name_before_resize=True,
    ),
)
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    dict(type='PackSegInputs'),
]

# Where the authors' names are not those of MMSegmentation; CLIP-DINOiser has the same.
_words = ('voc21', 'voc20', 'context60', 'context59', 'coco-object')
data_overrides = {
    name: dict(
        default_hooks=dict(
            vocabulary=dict(vocabulary='clip_dinoiser_' + name.replace('-', '_'))
        )
    )
    for name in _words
}
_scenery = ['sky', 'wall', 'tree', 'wood', 'grass', 'road', 'sea', 'river', 'mountain']
_scenery += ['sands', 'desk', 'bed', 'building', 'cloud']
_rooms = ['lamp', 'door', 'window', 'wardrobe', 'ceiling', 'shelf', 'curtain', 'stair']
for _name, _more in (
    ('voc21', [*_rooms, 'floor', 'hill', 'rail', 'fence']),
    ('coco-object', ['floor', 'hill', 'rail']),
):
    data_overrides[_name]['default_hooks']['vocabulary']['background'] = dict(
        type='names', names=_scenery + _more
    )
del _words, _scenery, _rooms, _name, _more
