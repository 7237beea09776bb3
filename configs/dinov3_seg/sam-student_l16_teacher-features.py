"""The student of SAM, with SAM's features computed beforehand.

``tools/extract_teacher_features.py`` fills the folder. Images are not flipped: the
features are those of the images as they are.
"""

_base_ = './sam-student_l16.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
            dict(type='Resize', scale=(1024, 1024)),
            dict(
                type='LoadTeacherFeatures', folder='data/features/sam-l_coco-train2017'
            ),
            dict(type='PackNounMasks'),
        ]
    )
)
