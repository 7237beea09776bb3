"""SCLIP's protocol, which NACLIP, ClearCLIP and ProxyCLIP build on.

CLIP ViT-B/16 with another last block, no training. Shorter side 336, windows of
224 x 224 at stride 112. Scores are cosines; at the original size they become a softmax
over all names, and pixels whose best class is improbable are background. The names, and
in VOC21 and COCO-Object the things of the background, are SCLIP's.
"""

data_preprocessor = dict(
    type='OpenVocabDataPreProcessor',
    # CLIP's, as the authors round them
    mean=[122.771, 116.746, 104.094],
    std=[68.501, 66.632, 70.323],
    bgr_to_rgb=True,
    size=(224, 224),
)
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='OpenCLIPImageEncoder',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        position_offset=0.1,
        fit='crop',
        trainable=False,
    ),
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        templates='imagenet',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(type='TextSimilarityHead', in_channels=512, text_channels=512),
    test_cfg=dict(
        mode='slide', crop_size=(224, 224), stride=(112, 112), logit_scale=40
    ),
)
_load = dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images'))
_pack = dict(type='PackSegInputs')
test_pipeline = [
    _load,
    dict(type='Resize', scale=(2048, 336), keep_ratio=True),
    _pack,
]

_words = {
    'voc21': 'sclip_voc21',
    'context60': 'sclip_context60',
    'coco-object': 'sclip_coco_object',
    'voc20': 'sclip_voc20',
    'context59': 'sclip_context59',
    'coco-stuff164k': 'sclip_coco_stuff',
    'cityscapes': 'sclip_cityscapes',
    'ade20k': 'sclip_ade20k',
}
_settings = {'voc21': dict(min_probability=0.1), 'context60': dict(min_probability=0.1)}
_settings['coco-object'] = dict(min_probability=0.1)
data_overrides = {
    name: dict(
        default_hooks=dict(vocabulary=dict(vocabulary=words)),
        model=dict(test_cfg=_settings.get(name, {})),
    )
    for name, words in _words.items()
}
data_overrides['cityscapes']['test_pipeline'] = [
    _load,
    dict(type='Resize', scale=(2048, 560), keep_ratio=True),
    _pack,
]
del _load, _pack, _words, _settings
