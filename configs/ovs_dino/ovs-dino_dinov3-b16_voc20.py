_base_ = ['./ovs-dino_dinov3-b16.py', '../_base_/datasets/voc20.py']
