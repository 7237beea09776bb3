_base_ = ['./ovs-dino_dinov2-b14.py', '../_base_/datasets/ade20k.py']
