"""The pseudo-masks with SAM's features computed beforehand.

``tools/extract_teacher_features.py`` fills the folder. Images are not flipped: the
features are those of the images as they are.
"""

_base_ = './coco_pseudo_masks.py'

noun_mask_pipeline = [
    dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
    dict(type='LoadNounMasks'),
    dict(type='Resize', scale=(1024, 1024)),
    dict(type='LoadTeacherFeatures', folder='data/features/sam-b_coco-train2017'),
    dict(type='PackNounMasks'),
]
train_dataloader = dict(dataset=dict(pipeline=noun_mask_pipeline))
