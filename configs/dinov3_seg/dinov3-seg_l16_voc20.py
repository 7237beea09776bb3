_base_ = ['./dinov3-seg_l16.py', '../_base_/datasets/voc20.py']

# Images are stretched once, from their own size, by local-global inference.
test_pipeline = _base_.test_pipeline
del test_pipeline[1]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader

# classes that the training set names
test_evaluator = dict(seen_vocabulary='coco_stuff_171')
val_evaluator = test_evaluator
