_base_ = ['./talk2dino_dinov3-l16.py', '../_base_/datasets/ade20k.py']
