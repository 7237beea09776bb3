"""CAT-Seg on CLIP ViT-B/16: the cost of image and words, aggregated.

The authors' inference: images stretched to 640 x 640, four windows of 384 x 384 at
stride 256 and the whole image at 384 x 384; no pooling between classes; 256 classes
at most take part in the aggregation.
"""

data_preprocessor = dict(
    type='OpenVocabDataPreProcessor',
    # CLIP's
    mean=[122.7709383, 116.7460125, 104.09373615],
    std=[68.5005327, 66.6321579, 70.3231630],
    bgr_to_rgb=True,
    size=(384, 384),
)
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='OpenCLIPImageEncoder',
        model='ViT-B-16-quickgelu',
        last_block='catseg',
        # two blocks as they are to guide the decoder, and the output
        out_indices=(3, 7, 11),
        final_norm=(False, False, True),
    ),
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model='ViT-B-16-quickgelu',
        templates='single',
        template_average='none',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(
        type='CostAggregationHead',
        in_channels=512,
        stride=16,
        appearance_guidance=dict(index=2, channels=512),
        decoder_guidance=[
            dict(index=0, channels=768, stride=16, upsampled_channels=256),
            dict(index=1, channels=768, stride=16, upsampled_channels=128),
        ],
        aggregator=dict(pad_len=256, pooling=(2, 2), test_pooling=(1, 1)),
    ),
    test_cfg=dict(
        mode='local-global',
        aggregation='logits',
        image_size=(640, 640),
        crop_size=(384, 384),
        stride=(256, 256),
        input_size=(384, 384),
        input_antialias=False,
    ),
)
# Images come to the model as the authors' loader makes them (Pillow, antialiased).
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2560, 640), keep_ratio=True, backend='pillow'),
    dict(type='PackSegInputs'),
]

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
        # of both towers of CLIP the projections of queries and values are trained
        model=dict(
            init_cfg=None,
            backbone=dict(pretrained='openai', trainable='query_value'),
            text_encoder=dict(pretrained='openai', trainable='query_value'),
        ),
    )
}
del _words, _seen
