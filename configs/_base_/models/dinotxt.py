"""dino.txt: DINO's patches after two aligned blocks, against text's second half.

The protocol of the authors' segmentation notebook (facebookresearch/dinov3,
notebooks/dinotxt_segmentation_inference.ipynb): shorter side 512, windows of 384 x 384
at stride 192, each stretched to a multiple of the patch; cosines become a softmax over
the classes of a window, without a temperature, before windows are averaged.
"""

data_preprocessor = dict(
    type='OpenVocabDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    size=(384, 384),
)
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='DINOv3',
        arch='large',
        trainable=False,
        extra_outputs=('cls_token', 'registers'),
        fit='resize',
    ),
    neck=dict(type='DinoTxtVisionHead', trainable=False),
    text_encoder=dict(
        type='DinoTxtTextEncoder',
        part='patch',
        templates='imagenet',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(type='TextSimilarityHead', in_channels=1024, text_channels=1024),
    test_cfg=dict(
        mode='slide', crop_size=(384, 384), stride=(192, 192), window_softmax=True
    ),
)
# Pillow's Resize, which is antialiased, as in the notebook.
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(
        type='Resize',
        scale=(8192, 512),
        keep_ratio=True,
        interpolation='bicubic',
        backend='pillow',
    ),
    dict(type='PackSegInputs'),
]

# SCLIP's names: things of the background instead of the word
data_overrides = {
    'voc21': dict(default_hooks=dict(vocabulary=dict(vocabulary='sclip_voc21'))),
    'coco-object': dict(
        default_hooks=dict(vocabulary=dict(vocabulary='sclip_coco_object'))
    ),
}
