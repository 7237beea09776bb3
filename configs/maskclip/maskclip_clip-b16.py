"""MaskCLIP on CLIP ViT-B/16, in ClearCLIP's code: patches keep their own values."""

_base_ = '../clearclip/clearclip_clip-b16.py'

model = dict(backbone=dict(last_block=dict(preset='maskclip')))
