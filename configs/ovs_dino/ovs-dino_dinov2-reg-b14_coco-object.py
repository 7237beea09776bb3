_base_ = ['./ovs-dino_dinov2-reg-b14.py', '../_base_/datasets/coco_object.py']

default_hooks = dict(vocabulary=dict(background=dict(type='threshold', value=0.5)))
