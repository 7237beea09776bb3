"""Draw the embedded shapes data set, or repair it; an intact one is kept.

python tools/make_shapes.py --out data/shapes
"""

import argparse
import os
import time

from mmseg_ovs.datasets.shapes import DEFAULT_SIZES, SPLITS, write_shapes
from mmseg_ovs.utils import OutputFolder, exit_with_message


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--out',
        action=OutputFolder,
        default='data/shapes',
        help='folder of the data set',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the data set')
    parser.add_argument(
        '--sizes',
        type=int,
        nargs=len(SPLITS),
        default=DEFAULT_SIZES,
        metavar=tuple(split.upper() for split in SPLITS),
        help='images per split',
    )
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='number of processes'
    )
    return parser.parse_args()


@exit_with_message()
def main() -> None:
    args = parse_args()
    start = time.perf_counter()
    try:
        drawn = write_shapes(args.out, args.seed, args.sizes, args.workers)
    except (ValueError, OSError) as error:
        raise SystemExit(f'make_shapes: {error}') from error
    seconds = time.perf_counter() - start
    if drawn:
        total = sum(args.sizes)
        print(f'{args.out}: drew {drawn} of {total} images in {seconds:.1f} s')
    else:
        print(f'{args.out}: complete and intact, nothing to do ({seconds:.1f} s)')


if __name__ == '__main__':
    main()
