"""dinov3.seg with DINOv3 ViT-L/16 and SAM ViT-L: the model alone."""

_base_ = ['../_base_/models/dinov3_seg.py', '../_base_/default_runtime.py']
