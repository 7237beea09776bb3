"""CLIP-DINOiser on CLIP ViT-B/16 of LAION-2B: MaskCLIP pooled by learned correlations.

Shorter side 448, windows of 448 x 448 at stride 224. Scores are a softmax over all
names on the patch grid. In VOC21 and COCO-Object, uncertain patches of no object are
background, as the authors do.
"""

_base_ = ['../_base_/models/maskclip_laion.py', '../_base_/default_runtime.py']

_weights = dict(
    type='Pretrained',
    checkpoint='https://github.com/wysoczanska/clip_dinoiser/raw/main/checkpoints/'
    'last.pt',
)
model = dict(
    backbone=dict(out_indices=(-3, -1), final_norm=('norm2', True)),
    neck=dict(type='CorrelationPooling', init_cfg=_weights),
    decode_head=dict(logit_scale=100.0, activation='softmax'),
)
data_overrides = {
    name: dict(
        model=dict(postprocessors=[dict(type='UncertainBackground', init_cfg=_weights)])
    )
    for name in ('voc21', 'coco-object')
}
del _weights
