_base_ = ['./cat-seg_clip-b16.py', '../_base_/datasets/voc20b.py']

test_pipeline = _base_.test_pipeline
test_pipeline[1] = _base_.resize
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader

# the background is the best of names of Context-59
default_hooks = dict(vocabulary=dict(vocabulary='voc_20b_catseg'))

# classes that the training set names
test_evaluator = dict(seen_vocabulary='coco_stuff_171')
val_evaluator = test_evaluator
