"""Images and runs that the tests of inference share."""

import torch
from mmseg.structures import SegDataSample

SLIDE = dict(mode='slide', crop_size=(42, 42), stride=(28, 28))
FEATURES = dict(
    mode='local-global',
    aggregation='features',
    image_size=(84, 84),
    crop_size=(56, 56),
    stride=(14, 14),
)
LOGITS = dict(
    FEATURES,
    aggregation='logits',
    stride=(28, 28),
    input_size=(42, 42),
    input_antialias=False,
)
# A stock backbone and neck: maps at strides 4, 8, 16 and 32.
PYRAMID = dict(
    backbone=dict(
        type='ResNetV1c', depth=18, out_indices=(0, 1, 2, 3), norm_cfg=dict(type='BN')
    ),
    neck=dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=16, num_outs=4),
)


def make_image(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator)


def run(model, images, metas=None, **call):
    """Samples of images; ``call`` are a vocabulary and settings for this call."""
    samples = [SegDataSample(metainfo=dict(metas or {})) for _ in images]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples))
    return model.predict(**data, **call)


def scores(model, image, **call):
    """Class scores (N, H, W) of an image."""
    return run(model, [image], keep_logits=True, **call)[0].seg_logits.data
