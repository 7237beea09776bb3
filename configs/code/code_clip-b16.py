"""CoDe: TCL's masks, trained on regions and words, on CLIP ViT-B/16.

The protocol is TCL's. The masks are compared with names behind 16 learned vectors,
CLIP's own scores with the mean of the nine templates.
"""

_base_ = ['../tcl/tcl_clip-b16.py']

model = dict(
    neck=dict(_delete_=True, type='TCLMasker', double=False),
    text_encoder=dict(type='CoDeTextEncoder', template_average='normalized'),
    decode_head=dict(
        _delete_=True, type='TCLHead', text_channels=1024, text_slice=(0, 512)
    ),
    postprocessors=[
        dict(type='PAMR', stage='grid'),
        dict(type='ScoreMix', weight=0.3, text_slice=(512, 1024)),
    ],
)
