_base_ = ['./ovs-dino_dinov2-reg-b14.py', '../_base_/datasets/cityscapes.py']
