_base_ = ['./talk2dino_dinov2-reg-l14.py', '../_base_/datasets/cityscapes.py']
