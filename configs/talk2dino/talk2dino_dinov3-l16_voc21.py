_base_ = ['./talk2dino_dinov3-l16.py', '../_base_/datasets/voc21.py']

model = dict(
    postprocessors=[dict(type='BackgroundCleaning', weight=0.2), dict(type='PAMR')]
)

default_hooks = dict(vocabulary=dict(background=dict(type='threshold', value=0.54)))
