_base_ = ['./ovs-dino_dinov2-b14.py', '../_base_/datasets/coco_stuff164k.py']
