"""Time the data loading of a config, transform by transform.

    python tools/speed/profile_loading.py CONFIG [--split train] [--samples 100]
        [--cfg-options ...]

One process loads samples in random order. Prints the milliseconds per transform, and
the samples per second of one process and of all ``num_workers`` in the config. A
training or test that needs more waits for its data: raise ``num_workers`` or shrink the
images.
"""

import argparse
import random
import time
from collections import Counter

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import cv2
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_ovs.composition import add_config_arguments, read_config, require_data


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_config_arguments(parser)
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--samples', type=int, default=100, help='samples to load')
    args = parser.parse_args(argv)
    if args.samples < 1:
        parser.error(f'--samples has to be at least 1, not {args.samples}')
    return args


def time_transforms(dataset: BaseDataset, count: int) -> dict[str, float]:
    """Mean seconds of each transform over samples at random.

    Raises:
        ValueError: A transform gives up a sample, which a loader would replace.
    """
    seconds: Counter[str] = Counter()
    numbers = random.Random(0).choices(range(len(dataset)), k=count)
    for number in numbers:
        data = dataset.get_data_info(number)
        for transform in dataset.pipeline.transforms:
            begin = time.perf_counter()
            data = transform(data)
            seconds[type(transform).__name__] += time.perf_counter() - begin
            if data is None:
                raise ValueError(
                    f'{type(transform).__name__} gives up sample {number} '
                    f'({dataset.get_data_info(number)["img_path"]})'
                )
    return {name: total / count for name, total in seconds.items()}


def main(argv: list[str] | None = None) -> None:
    """Load, print."""
    args = parse_args(argv)
    cfg = read_config(args, args.split == 'train', (f'{args.split}_dataloader',))
    require_data(cfg, args.split)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    cv2.setNumThreads(1)  # as in the worker processes
    loader = cfg[f'{args.split}_dataloader']
    dataset = DATASETS.build(loader.dataset)
    time_transforms(dataset, 1)  # imports and tables
    seconds = time_transforms(dataset, args.samples)
    total = sum(seconds.values())
    print(f'{args.config}, {args.split}: {args.samples} samples of {len(dataset)}')
    for name, mean in seconds.items():
        print(f'{name:<28} {1000 * mean:8.2f} ms {mean / total:6.0%}')
    workers = max(1, loader.get('num_workers', 0))
    print(f'{"sum":<28} {1000 * total:8.2f} ms')
    print(
        f'{1 / total:.0f} samples a second, {workers / total:.0f} by {workers} workers'
    )


if __name__ == '__main__':
    main()
