"""LPOSS+: LPOSS, whose merged scores are propagated over the pixels too."""

_base_ = './lposs_clip-b16.py'

model = dict(postprocessors=[dict(type='PixelPropagation')])
