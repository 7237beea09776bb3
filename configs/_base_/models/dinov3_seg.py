"""dinov3.seg on DINOv3 ViT-L/16, with dino.txt's heads, AnyUp and SAM ViT-L as prior.

Where the paper is silent the values are our reading; the README of ``dinov3_seg`` lists
them. DINOv3's weights are gated: ask for access (DINOv3 License) and put both files
into ``weights/``. The others are downloaded.
"""

data_preprocessor = dict(
    type='OpenVocabDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    size=(384, 384),
)
head_and_text = (
    'weights/dinov3_vitl16_dinotxt_vision_head_and_text_encoder-a442d8f5.pth'
)
# 1 keeps the patch grid; 2 and 4 upsample, and the head's strides change with it.
early_refinement = dict(
    type='AnyUp',
    output_size=1,
    trainable=False,
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://github.com/wimmerth/anyup/releases/download/'
        'checkpoint_v2/anyup_multi_backbone.pth',
    ),
)
# Maps 1, 2 and 3: after the first and the second of SAM's blocks of global attention,
# and the output of its neck.
semantic_prior = dict(
    type='SemanticPriorEncoder',
    backbone=dict(
        type='SAMImageEncoder',
        arch='vit_l',
        out_indices=(5, 11),
        fused_attention=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/segment_anything/'
            'sam_vit_l_0b3195.pth',
        ),
    ),
)
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=data_preprocessor,
    # The vision head is part of what windows go through.
    backbone=dict(
        type='BackboneWithNeck',
        backbone=dict(
            type='DINOv3',
            arch='large',
            extra_outputs=('cls_token', 'registers'),
            init_cfg=dict(
                type='Pretrained',
                checkpoint='weights/dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth',
            ),
        ),
        neck=dict(
            type='DinoTxtVisionHead',
            init_cfg=dict(
                type='Pretrained', checkpoint=head_and_text, prefix='visual_model.head'
            ),
        ),
        trainable='query_value',
    ),
    neck=[early_refinement, semantic_prior],
    text_encoder=dict(
        type='DinoTxtTextEncoder',
        part='both',
        templates='single',
        template_average='raw',
        cache_dir='data/text_embeddings',
        init_cfg=dict(type='Pretrained', checkpoint=head_and_text, prefix='text_model'),
    ),
    decode_head=dict(
        type='CostAggregationHead',
        in_channels=1024,
        in_index=0,
        stride=16,
        text_parts=2,
        prompt_channels=2,
        appearance_guidance=dict(index=3, channels=256),
        decoder_guidance=[
            dict(index=2, channels=1024, stride=16, upsampled_channels=256),
            dict(index=1, channels=1024, stride=16, upsampled_channels=128),
        ],
        ignored='skip',
    ),
    test_cfg=dict(
        mode='local-global',
        aggregation='features',
        image_size=(640, 640),
        crop_size=(384, 384),
        stride=(128, 128),
    ),
)
# Local-global inference stretches images once, from their own size.
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='PackSegInputs'),
]

# As CAT-Seg has it.
# The first synonym only; 'diningtable' in place of 'table'; the background of PAS-20b
# is the best of names of Context-59. Of all but COCO-Stuff, the training set, seen and
# unseen classes are told apart.
_words = {
    'ade20k': None,
    'ade20k-847': dict(source='ade20k_847', synonyms='first'),
    'context59': 'pascal_context_59_catseg',
    'context459': None,
    'voc20': None,
    'voc20b': 'voc_20b_catseg',
}
_seen = dict(type='OpenVocabIoUMetric', seen_vocabulary='coco_stuff_171')
data_overrides = {
    name: dict(
        test_evaluator=_seen,
        default_hooks=dict(vocabulary=dict(vocabulary=words) if words else {}),
    )
    for name, words in _words.items()
}
train_overrides = {
    'coco-stuff164k': dict(
        schedule='cost_aggregation_80k',
    )
}
del _words, _seen
