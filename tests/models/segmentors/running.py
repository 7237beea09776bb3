"""Images and runs that the tests of inference share."""

import torch
from mmseg.structures import SegDataSample


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
