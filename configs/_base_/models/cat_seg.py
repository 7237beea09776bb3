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
        dense=True,
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
# Takes the place of a benchmark's own Resize: images come to the model as the
# authors' loader makes them (Pillow, antialiased).
resize = dict(type='Resize', scale=(2560, 640), keep_ratio=True, backend='pillow')
