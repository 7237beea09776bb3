"""NACLIP on CLIP ViT-B/16: keys attend to keys, and more to near ones; PAMR."""

_base_ = ['../_base_/models/sclip.py', '../_base_/default_runtime.py']

model = dict(
    backbone=dict(last_block=dict(preset='naclip')),
    postprocessors=[dict(type='PAMR', dilations=(8, 16), stage='output')],
)
data_overrides = {
    name: dict(model=dict(test_cfg=dict(mode='whole'))) for name in ('voc21', 'voc20')
}
