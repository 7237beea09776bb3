"""Baselines on the shapes set: colour only, and the best score on a token grid.

    python tools/analysis/shapes_controls.py --data-root data/shapes --strides 4 7 8

Prints two kinds of rows to compare with the mIoU and boundary mIoU of a trained model:

- colour only: each pixel gets the class with the nearest mean colour, measured on the
  scored images themselves; among all classes, or only those in the image.
- grid ceiling: the true labels are averaged over the cells of a token grid, upsampled
  bilinearly and decided by argmax, as a segmentor does with its logits.
"""

import argparse
from collections.abc import Callable

import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from prettytable import PrettyTable
from torch import Tensor
from torch.nn import functional as F

from mmseg_ovs.datasets import ShapesDataset
from mmseg_ovs.datasets.shapes import IGNORE_LABEL
from mmseg_ovs.evaluation import BoundaryIoUMetric, OpenVocabIoUMetric

NUM_CLASSES = len(ShapesDataset.METAINFO['classes'])
COLUMNS = (
    'mIoU',
    'mIoU_seen',
    'mIoU_unseen',
    'mIoU_things_seen',
    'mIoU_things_unseen',
    'mIoU_stuff_seen',
    'mIoU_stuff_unseen',
    'aAcc',
    'boundary/mIoU',
    'boundary/mIoU_seen',
    'boundary/mIoU_unseen',
)

Sample = tuple[Tensor, Tensor]
Predictor = Callable[[Tensor, Tensor], Tensor]


def load_split(data_root: str, split: str) -> list[Sample]:
    """BGR images (3, H, W) and labels (H, W) of a split, both uint8 or wider."""
    dataset = ShapesDataset(
        data_root=data_root,
        data_prefix=dict(
            img_path=f'images/{split}', seg_map_path=f'annotations/{split}'
        ),
        pipeline=[
            dict(type='LoadImageFromFile', backend_args=dict(backend='checked_images')),
            dict(type='LoadLabelMap'),
            dict(type='PackSegInputs'),
        ],
        test_mode=True,
    )
    return [
        (item['inputs'], item['data_samples'].gt_sem_seg.data[0].long())
        for item in map(dataset.__getitem__, range(len(dataset)))
    ]


def score(samples: list[Sample], predict: Predictor) -> dict[str, float]:
    """mIoU and boundary mIoU of ``predict(image, label)``, all parts, in percent.

    Args:
        samples: images (3, H, W) and labels (H, W).
        predict: gives labels (H, W); controls may look at the true label.
    """
    evaluator = Evaluator([OpenVocabIoUMetric(), BoundaryIoUMetric()])
    evaluator.dataset_meta = ShapesDataset.METAINFO
    for image, label in samples:
        item = dict(
            pred_sem_seg=dict(data=predict(image, label)[None]),
            gt_sem_seg=dict(data=label[None]),
        )
        evaluator.process([item], {})
    return evaluator.evaluate(len(samples))


def mean_colours(samples: list[Sample]) -> Tensor:
    """(N, 3) mean colour of every class; nan where a class does not occur."""
    total = torch.zeros(NUM_CLASSES, 3, dtype=torch.float64)
    count = torch.zeros(NUM_CLASSES, 1, dtype=torch.float64)
    for image, label in samples:
        known = label != IGNORE_LABEL
        pixels = image[:, known].T.double()
        total.index_add_(0, label[known], pixels)
        count.index_add_(0, label[known], torch.ones_like(pixels[:, :1]))
    return total / count


def nearest_colour(image: Tensor, colours: Tensor) -> Tensor:
    """(H, W) index of the row of ``colours`` (N, 3) nearest to each pixel."""
    pixels = image.flatten(1).T.double()
    distance = torch.cdist(pixels, colours).nan_to_num(nan=torch.inf)
    return distance.argmin(1).view(image.shape[1:])


def colour_only(colours: Tensor) -> Predictor:
    """Label by colour look-up among all classes."""
    return lambda image, label: nearest_colour(image, colours)


def colour_only_given_classes(colours: Tensor) -> Predictor:
    """Label by colour look-up among the classes that are in the image."""

    def predict(image: Tensor, label: Tensor) -> Tensor:
        present = label[label != IGNORE_LABEL].unique()
        return present[nearest_colour(image, colours[present])]

    return predict


def grid_ceiling(stride: int) -> Predictor:
    """True labels seen through a token grid of this stride (pixels).

    Raises:
        ValueError: when called, if the stride does not divide the image's sides.
    """

    def predict(image: Tensor, label: Tensor) -> Tensor:
        if any(side % stride for side in label.shape):
            raise ValueError(
                f'stride {stride} does not divide the image ({tuple(label.shape)})'
            )
        present = label[label != IGNORE_LABEL].unique()
        share = (label == present[:, None, None]).float()[None]
        cells = F.avg_pool2d(share, stride)
        full = F.interpolate(cells, label.shape, mode='bilinear', align_corners=False)
        return present[full[0].argmax(0)]

    return predict


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data-root', default='data/shapes', help='folder of the data')
    parser.add_argument('--split', default='val', choices=('train', 'val', 'test'))
    parser.add_argument(
        '--strides', type=int, nargs='+', default=[4, 7, 8], help='pixels per token'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    init_default_scope('mmseg')
    # The metric logs a table of 104 classes for every row.
    MMLogger.get_instance('shapes_controls', log_level='ERROR')
    samples = load_split(args.data_root, args.split)
    colours = mean_colours(samples)
    rows: dict[str, Predictor] = {
        'colour only': colour_only(colours),
        "colour only, image's classes known": colour_only_given_classes(colours),
    }
    rows |= {f'grid ceiling, stride {s}': grid_ceiling(s) for s in args.strides}
    table = PrettyTable(['control', *(name.replace('mIoU_', '') for name in COLUMNS)])
    table.align['control'] = 'l'
    for name, predict in rows.items():
        metrics = score(samples, predict)
        table.add_row([name, *(f'{float(metrics[key]):.1f}' for key in COLUMNS)])
    present = int((~colours.isnan()).all(1).sum())
    print(f'{args.split}: {len(samples)} images, {present} of {NUM_CLASSES} classes')
    print(table)


if __name__ == '__main__':
    main()
