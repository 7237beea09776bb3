_base_ = ['./talk2dino_dinov2-reg-b14.py', '../_base_/datasets/cityscapes.py']
