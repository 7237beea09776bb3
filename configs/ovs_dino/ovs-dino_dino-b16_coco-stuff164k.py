_base_ = ['./ovs-dino_dino-b16.py', '../_base_/datasets/coco_stuff164k.py']
