"""OVS-DINO on DINOv2 ViT-B/14, SAM ViT-B as teacher, CLIP ViT-B/16 for the names.

Images come at 1024 x 1024 in training: so SAM sees them, DINO sees them at 448 x 448.
The teacher is built when training starts, and at no other time.
"""

data_preprocessor = dict(
    type='OpenVocabDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    size=(1024, 1024),
)
model = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='DINOv2',
        arch='base',
        # blocks 2, 4, ... 12 as they are, and DINO's output: the last after the norm
        out_indices=(1, 3, 5, 7, 9, 11, 11),
        final_norm=(False, False, False, False, False, False, True),
        frozen_stages=9,  # the last three of 12 blocks learn
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/'
            'dinov2_vitb14_pretrain.pth',
        ),
    ),
    neck=[
        dict(type='StructureAwareEncoder', in_channels=[768] * 6, out_channels=256),
        dict(
            type='StructureModulatedDecoder',
            in_channels=256,
            channels=768,
            gate=dict(type='PreservationGate'),
        ),
    ],
    text_encoder=dict(
        type='OpenCLIPTextEncoder',
        model='ViT-B-16-quickgelu',
        pretrained='openai',
        templates='imagenet',
        cache_dir='data/text_embeddings',
    ),
    decode_head=dict(
        type='OVSDINOHead',
        in_channels=768,
        text_channels=512,
        mask_size=(448, 448),
        activation='sigmoid',
    ),
    auxiliary_head=dict(
        type='AlignmentHead',
        teacher=dict(
            type='SAMImageEncoder',
            arch='vit_b',
            fused_attention=True,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://dl.fbaipublicfiles.com/segment_anything/'
                'sam_vit_b_01ec64.pth',
            ),
        ),
        input_size=(1024, 1024),
    ),
    train_cfg=dict(input_size=(448, 448)),
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)),
)
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='Resize', scale=(2048, 448), keep_ratio=True),
    dict(type='PackSegInputs'),
]

_rule = dict(vocabulary=dict(background=dict(type='threshold', value=0.5)))
data_overrides = {
    'voc21': dict(default_hooks=_rule),
    'context60': dict(default_hooks=_rule),
    'coco-object': dict(default_hooks=_rule),
}
_training = dict(
    schedule='ovs_dino_25e',
    default_hooks=dict(checkpoint=dict(by_epoch=True, interval=1, max_keep_ckpts=3)),
)
train_overrides = {
    'coco-pseudo-masks': _training,
    'coco-pseudo-masks-teacher-features': _training,
}
del _rule, _training
