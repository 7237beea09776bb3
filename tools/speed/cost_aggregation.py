"""Speed of cost aggregation in chunks of classes against the published formulation.

    python tools/speed/cost_aggregation.py [CLASSES ...] [--pad-len N]
        [--threads 1] [--pairs 3] [--class-chunk N]

CAT-Seg's dimensions for ViT-B on a 24 x 24 grid, pooling 2 x 2, linear attention; both
forms have the same (random) weights. Times are interleaved in this process with the
default allocator; peak memory, the output included, is that of a fresh process for
each.
"""

from __future__ import annotations

import argparse
import multiprocessing

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
from parts import Variant, compare, peak_mb
from plain_cost_aggregation import plain_aggregator

from mmseg_ovs.models.decode_heads.cost_aggregation import Aggregator

CLASSES = (20, 150, 847)
GRID = 24


def variants(classes: int, options: dict) -> dict[str, Variant]:
    """Both forms, with the same weights and inputs in any process.

    Args:
        classes: Number of classes.
        options: Further arguments of the aggregator.
    """
    torch.manual_seed(0)
    model = Aggregator(
        512, appearance_channels=512, decoder_guidance_channels=(256, 128), **options
    ).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.add_(0.1 * torch.randn_like(parameter))
    features = torch.randn(1, 512, GRID, GRID)
    text = torch.randn(classes, 1, 512)
    decoder_guidance = [
        torch.randn(1, 256, 2 * GRID, 2 * GRID),
        torch.randn(1, 128, 4 * GRID, 4 * GRID),
    ]
    arguments = (features, text, features, decoder_guidance)
    return {
        'as published': lambda: plain_aggregator(model, *arguments),
        'mmseg_ovs': lambda: model(*arguments),
    }


@torch.inference_mode()
def memory_of(name: str, classes: int, options: dict, threads: int) -> float:
    """Peak memory of one call, for a process that has done nothing else."""
    torch.set_num_threads(threads)
    return peak_mb(variants(classes, options)[name])


@torch.inference_mode()
def main() -> None:
    """Run the numbers of classes asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('classes', nargs='*', type=int)
    parser.add_argument('--pad-len', type=int, help='pad to this number of classes')
    parser.add_argument('--class-chunk', type=int, help="default: the aggregator's")
    parser.add_argument('--threads', type=int, default=1, help='torch threads')
    parser.add_argument('--pairs', type=int, default=3, help='interleaved repetitions')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    options = dict(pad_len=args.pad_len)
    if args.class_chunk is not None:
        options['class_chunk'] = args.class_chunk
    print(f'torch {torch.__version__}, {args.threads} thread(s), float32')
    for classes in args.classes or CLASSES:
        built = variants(classes, options)
        memory = {}
        for name in built:
            with multiprocessing.get_context('spawn').Pool(1) as pool:
                memory[name] = pool.apply(
                    memory_of, (name, classes, options, args.threads)
                )
        output = 4 * classes * (4 * GRID) ** 2 / 2**20
        padded = f', padded to {args.pad_len}' if args.pad_len else ''
        compare(
            f'cost aggregation, {classes} classes{padded}, {GRID} x {GRID} '
            f'(the output is {output:.0f} MB)',
            built,
            args.pairs,
            memory,
        )


if __name__ == '__main__':
    main()
