"""PixelCLIP on CLIP ViT-B/16, trained with masks of SA-1B."""

_base_ = ['../_base_/models/pixelclip.py', '../_base_/default_runtime.py']

model = dict(
    backbone=dict(
        init_cfg=dict(  # the image tower alone: the text tower is OpenAI's
            type='Pretrained',
            checkpoint='https://huggingface.co/hsshin98/PixelCLIP/resolve/main/weights/'
            'pixelclip_vit_base.pth',
            prefix='sem_seg_head.predictor.clip_model',
        )
    )
)
