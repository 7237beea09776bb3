"""Time the metrics: mIoU against MMSegmentation's, boundary IoU mask by mask.

    python tools/speed/metrics.py [--pairs 5]

Twenty generated label maps of 512 x 683 with ten classes each, predicted with shifted
contours. Printed are time and peak memory of all of them, and the largest difference of
the counts; ``boundary IoU, mask by mask`` erodes the mask of each class that occurs.
"""

from __future__ import annotations

import argparse
from functools import partial

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import cv2
import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from parts import compare
from torch import Tensor

from mmseg_ovs.evaluation import BoundaryIoUMetric, OpenVocabIoUMetric
from mmseg_ovs.evaluation.boundary_iou import boundary_width

IMAGES, SHAPE, CELL, PRESENT = 20, (512, 683), 40, 10


def images(classes: int, ignore: int) -> list[dict]:
    """Data samples as a model and the loader leave them."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(IMAGES):
        ids = rng.choice(classes, PRESENT, replace=False)
        cells = ids[rng.integers(PRESENT, size=(-(-SHAPE[0] // CELL), 18))]
        label = np.kron(cells, np.ones((CELL, CELL), int))[:, : SHAPE[1]][: SHAPE[0]]
        pred = np.roll(label, 3, 1)
        label[:20] = ignore
        samples.append(
            dict(
                pred_sem_seg=dict(data=torch.from_numpy(pred)[None]),
                gt_sem_seg=dict(data=torch.from_numpy(label)[None]),
                img_path=f'{number}.png',
            )
        )
    return samples


def counts(metric: IoUMetric, samples: list[dict], classes: int) -> Tensor:
    """Pixels of intersection, union, prediction and label, (4, classes)."""
    metric.results.clear()
    metric.dataset_meta = dict(classes=tuple(map(str, range(classes))))
    for sample in samples:
        metric.process({}, [sample])
    return sum(torch.stack(result) for result in metric.results)


def mask_by_mask(samples: list[dict], classes: int, ignore: int) -> Tensor:
    """The same counts of boundaries, every class by itself."""
    total = torch.zeros(4, classes)
    for sample in samples:
        pred, label = (
            sample[key]['data'][0].numpy() for key in ('pred_sem_seg', 'gt_sem_seg')
        )
        for number in np.union1d(pred, label):
            if number == ignore:
                continue
            one, two = (_rim((m == number) & (label != ignore)) for m in (pred, label))
            areas = [(one & two).sum(), (one | two).sum(), one.sum(), two.sum()]
            total[:, number] += torch.tensor([float(area) for area in areas])
    return total


def _rim(mask: np.ndarray) -> np.ndarray:
    width = boundary_width(SHAPE, 0.02)
    framed = cv2.copyMakeBorder(
        mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0
    )
    inside = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & (inside == 0)


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--pairs', type=int, default=5, help='interleaved repetitions')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for classes, ignore in ((150, 255), (847, 65535)):
        samples = images(classes, ignore)
        ours = OpenVocabIoUMetric(ignore_index=ignore)
        stock, boundary = (
            kind(ignore_index=ignore) for kind in (IoUMetric, BoundaryIoUMetric)
        )
        title = f'{IMAGES} images, {classes} classes'
        compare(
            f'mIoU, {title}',
            {
                'mmseg IoUMetric': partial(counts, stock, samples, classes),
                'OpenVocabIoUMetric': partial(counts, ours, samples, classes),
            },
            args.pairs,
        )
        compare(
            f'boundary IoU, {title}',
            {
                'mask by mask': partial(mask_by_mask, samples, classes, ignore),
                'BoundaryIoUMetric': partial(counts, boundary, samples, classes),
            },
            args.pairs,
        )
        kept = sum(t.numel() * t.element_size() for t in ours.results[0])
        print(f'  kept until the end: {kept / 1024:.1f} KiB per image')


if __name__ == '__main__':
    main()
