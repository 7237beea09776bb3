_base_ = ['./ovs-dino_dino-b16.py', '../_base_/datasets/ade20k.py']
