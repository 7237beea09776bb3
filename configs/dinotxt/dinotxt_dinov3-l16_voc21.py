_base_ = ['./dinotxt_dinov3-l16.py', '../_base_/datasets/voc21.py']

test_pipeline = _base_.test_pipeline
test_pipeline[1] = _base_.resize
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader

# SCLIP's names: things of the background instead of the word
default_hooks = dict(vocabulary=dict(vocabulary='sclip_voc21'))
