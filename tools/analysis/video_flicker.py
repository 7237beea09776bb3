"""Temporal strategies on moving shapes: mIoU, flicker and time of each.

    python tools/analysis/video_flicker.py dinotxt-tiny_shapes-112x112 CHECKPOINT

Videos are scenes of the shapes set whose things move, under noise and unsteady light,
so that single frames flicker. Every seed draws other videos. Flicker is measured where
the frames without noise and light do not change. Settings are chosen on the split val.
"""

import argparse
import time

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from prettytable import PrettyTable

from mmseg_ovs.apis import OpenVocabInferencer, build_temporal
from mmseg_ovs.datasets import ShapesDataset
from mmseg_ovs.datasets.shapes import IGNORE_LABEL
from mmseg_ovs.datasets.shapes_video import render_video
from mmseg_ovs.evaluation import Flicker
from mmseg_ovs.utils import exit_with_message

CLASSES = ShapesDataset.METAINFO['classes']
COLUMNS = ('mIoU', 'right pixels', 'flicker', 'seconds a frame', 'of them temporal')
STRATEGIES = ('none', 'smooth', 'propagate')


def evaluate(
    inferencer: OpenVocabInferencer,
    strategy: str,
    split: str,
    seed: int,
    videos: int,
    frames: int,
) -> list[float]:
    """The columns of a strategy on the videos of a seed, in percent and seconds."""
    areas, flickers, seconds, temporal_seconds = [], [], 0.0, 0.0
    for index in range(videos):
        drawn = list(render_video(seed, split, index, frames))
        images = (frame.image[..., ::-1] for frame in drawn)  # BGR
        temporal, flicker = build_temporal(strategy), Flicker()
        start = time.perf_counter()
        predictions = list(inferencer.predict(images, CLASSES, temporal=temporal))
        seconds += time.perf_counter() - start
        temporal_seconds += 0.0 if temporal is None else temporal.seconds
        for frame, prediction in zip(drawn, predictions, strict=True):
            prediction.check()
            flicker.update(frame.clean, prediction.labels)
            areas.append(
                IoUMetric.intersect_and_union(
                    torch.from_numpy(prediction.labels),
                    torch.from_numpy(frame.labels.astype(np.int64)),
                    len(CLASSES),
                    IGNORE_LABEL,
                )
            )
        flickers.append(flicker.share)
    intersect, union, _, label = (sum(a).numpy() for a in zip(*areas, strict=True))
    there = label > 0
    return [
        100 * (intersect[there] / union[there]).mean(),
        100 * intersect.sum() / label.sum(),
        100 * np.mean(flickers),
        seconds / (videos * frames),
        temporal_seconds / (videos * frames),
    ]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='name or path of a config of the shapes set')
    parser.add_argument('checkpoint', help='checkpoint of the whole model')
    parser.add_argument('--split', default='test', choices=('val', 'test'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--videos', type=int, default=8, help='videos of each seed')
    parser.add_argument('--frames', type=int, default=16, help='frames of each video')
    return parser.parse_args()


@exit_with_message()
def main() -> None:
    args = parse_args()
    inferencer = OpenVocabInferencer(args.config, args.checkpoint)
    table = PrettyTable(['strategy', 'mIoU gained', *COLUMNS])
    before = None
    for strategy in STRATEGIES:
        rows = np.array(
            [
                evaluate(
                    inferencer, strategy, args.split, seed, args.videos, args.frames
                )
                for seed in args.seeds
            ]
        )
        before = rows[:, :1] if before is None else before
        rows = np.concatenate([rows[:, :1] - before, rows], axis=1)
        columns = zip(rows.mean(0), rows.std(0), (1, 1, 1, 1, 3, 3), strict=True)
        cells = [
            f'{mean:.{digits}f} +- {std:.{digits}f}' for mean, std, digits in columns
        ]
        table.add_row([strategy, *cells])
    print(
        f'{args.config}, {args.split}: {len(args.seeds)} seeds of {args.videos} videos'
    )
    print(table)


if __name__ == '__main__':
    main()
