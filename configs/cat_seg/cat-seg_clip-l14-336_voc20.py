_base_ = ['./cat-seg_clip-l14-336.py', '../_base_/datasets/voc20.py']

test_pipeline = _base_.test_pipeline
test_pipeline[1] = _base_.resize
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader

# classes that the training set names
test_evaluator = dict(seen_vocabulary='coco_stuff_171')
val_evaluator = test_evaluator
