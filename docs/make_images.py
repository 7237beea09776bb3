"""Make the images of docs/tour.md from the result of ``make demo``.

python docs/make_images.py --checkpoint demo_out/work/iter_2000.pth
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.utils import replacing

CONFIG = 'text-similarity_mit-tiny_shapes-112x112'
OUT = Path(__file__).parent / 'images'
WIDTH = 800  # pixels
# Name of the file: number of the test image, words, background score. As in the tour.
CALLS = {
    'words': (
        0,
        ['pink disc', 'yellow arrow', 'green cross', 'dotted green ground'],
        None,
    ),
    'synonyms': (
        0,
        ['pink disc, yellow arrow, green cross', 'dotted green ground'],
        None,
    ),
    'background': (0, ['pink disc'], 13.0),
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--checkpoint', default='demo_out/work/iter_2000.pth')
    parser.add_argument('--images', default='data/shapes/images/test', type=Path)
    return parser.parse_args()


def main() -> None:
    """Segment, draw, write."""
    args = parse_args()
    inferencer = OpenVocabInferencer(CONFIG, args.checkpoint)
    OUT.mkdir(exist_ok=True)
    for name, (number, classes, score) in CALLS.items():
        result = inferencer(
            str(args.images / f'{number:05d}.png'),
            classes=classes,
            background_score=score,
        )
        sheet = result.sheet()
        sheet.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
        path = OUT / f'{name}.webp'
        with replacing(path) as temporary:
            sheet.save(temporary, 'webp', quality=80, method=6)
        print(f'{path}: {path.stat().st_size / 1000:.0f} kB')


if __name__ == '__main__':
    main()
