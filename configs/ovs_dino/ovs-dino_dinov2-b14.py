"""OVS-DINO on DINOv2 ViT-B/14, as published."""

_base_ = ['../_base_/models/ovs_dino.py', '../_base_/default_runtime.py']
