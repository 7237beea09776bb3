"""CAT-Seg (B) as published."""

_base_ = ['../_base_/models/cat_seg.py', '../_base_/default_runtime.py']

model = dict(
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://huggingface.co/spaces/hamacojr/CAT-Seg-weights/resolve/'
        'main/model_base.pth',
    )
)
