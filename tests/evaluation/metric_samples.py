"""Samples and scores for the tests of the metrics."""

import numpy as np
import torch


def classes(number):
    return tuple(f'class {i}' for i in range(number))


def sample(pred, label, path='a.png'):
    def data(x):
        return dict(data=torch.as_tensor(np.asarray(x), dtype=torch.int64)[None])

    return dict(pred_sem_seg=data(pred), gt_sem_seg=data(label), img_path=path)


def score(metric, samples, meta):
    metric.dataset_meta = meta
    for item in samples:
        metric.process({}, [item])
    return metric.evaluate(len(samples))
