"""The tiny OVS-DINO without alignment with SAM."""

_base_ = './ovs-dino_tiny_shapes-112x112.py'

model = dict(auxiliary_head=None)
