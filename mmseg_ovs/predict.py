"""Segment images and videos from the command line.

    python -m mmseg_ovs.predict photos/ --classes "a pikachu" tree road \\
        --config CONFIG --checkpoint CHECKPOINT --out out/
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from pathlib import Path
from typing import Any

import mmseg_ovs  # noqa: F401  before anything of mmseg

from .acceleration import add_switches, chosen_switches
from .apis import (
    FORMATS,
    GeoTiffError,
    ImageError,
    ImageSource,
    OpenVocabInferencer,
    Reading,
    ResultFolder,
    VideoError,
    list_files,
)
from .apis.folder_inputs import segment_images, write_geotiff, write_video
from .apis.geotiff import TIFF_SUFFIXES, is_geotiff
from .apis.image_sources import VIDEO_SUFFIXES, is_video
from .apis.job_size import set_short_side
from .composition import (
    MODEL_KEYS,
    add_allow_random,
    add_config_arguments,
    read_config,
)
from .engine import data_vocabulary
from .models.segmentors import build_temporal
from .structures import Vocabulary
from .utils import (
    IMAGE_SUFFIXES,
    Device,
    OutputFolder,
    exit_with_message,
    load_extra,
)
from .visualization.sheet import ALPHA

# What the inferencer reads of a config.
_READ = (
    *MODEL_KEYS,
    'load_from',
    'test_dataloader',
    'test_pipeline',
    'default_hooks',
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m mmseg_ovs.predict',
        description='Segment images and videos by class names. Files that fail are '
        'listed at the end, and the exit code is 1.',
    )
    parser.add_argument(
        'inputs',
        nargs='*',
        help="image and video files, folders, or quoted patterns: 'photos/**/*.jpg'",
    )
    _add_words(parser)
    add_config_arguments(parser, '--config', required=True)
    parser.add_argument(
        '--checkpoint',
        help='checkpoint of the whole model (default: each part loads the weights in '
        'its init_cfg)',
    )
    _add_outputs(parser)
    _add_geotiff(parser)
    parser.add_argument(
        '--every',
        type=_positive,
        metavar='N',
        help='use every Nth frame of videos',
    )
    parser.add_argument(
        '--temporal',
        nargs='+',
        metavar=('STRATEGY', 'KEY=VALUE'),
        help='how frames of videos take over scores of the frames before: none '
        '(default), smooth or propagate; with settings, such as propagate radius=4',
    )
    parser.add_argument(
        '--batch-size', type=_positive, default=1, help='images per batch (default: 1)'
    )
    parser.add_argument(
        '--short-side',
        type=_positive,
        metavar='PIXELS',
        help="resize images to this shorter side (default: the config's); larger "
        'sizes need more windows and time',
    )
    parser.add_argument('--device', action=Device, help='default: GPU if available')
    add_switches(parser)
    add_allow_random(parser)
    args = parser.parse_args(argv)
    _check_classes(args)
    if not args.inputs:
        parser.error('the following arguments are required: inputs')
    data_sets = [FORMATS[name] for name in args.format if name != 'yolo']
    if args.skip_existing and data_sets:
        parser.error(f'--skip-existing would leave images out of {data_sets[0]}')
    return args


def _check_classes(args: argparse.Namespace) -> None:
    """Refuse class names that probably are something else.

    Raises:
        ImageError: One is a file or folder.
    """
    for word in args.classes or ():
        is_file = Path(word).suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES
        is_path = not args.inputs or {'/', os.sep} & set(word)
        if is_file or (is_path and Path(word).exists()):
            raise ImageError(
                f'--classes takes {word} for a class: give images and folders before '
                '--classes'
            )


def _add_words(parser: argparse.ArgumentParser) -> None:
    words = parser.add_mutually_exclusive_group()
    words.add_argument(
        '--classes',
        nargs='+',
        help='class names, separated by spaces; commas separate synonyms of one class: '
        '"building, edifice"',
    )
    words.add_argument(
        '--vocabulary',
        help='name of a shipped vocabulary, or a .json/.txt file (default: the classes '
        'of --data, of the config or of the training data of the checkpoint)',
    )
    parser.add_argument(
        '--background-score',
        type=float,
        help='pixels on which no class scores higher are background',
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--out',
        required=True,
        action=OutputFolder,
        help='output folder: pred/, overlay/, vis/, legend.json',
    )
    parser.add_argument(
        '--skip-existing',
        action='store_true',
        help='leave out what has results in --out: goes on with an interrupted run',
    )
    parser.add_argument(
        '--scores', action='store_true', help='also write the class scores of images'
    )
    parser.add_argument(
        '--format',
        nargs='+',
        default=[],
        choices=FORMATS,
        help='also write a COCO data set with run-length masks (coco) or polygons '
        '(coco-polygons), or text files for YOLO (yolo)',
    )
    parser.add_argument(
        '--opacity',
        type=_share,
        default=ALPHA,
        metavar='0..1',
        help=f'of the colours in overlays (default: {ALPHA})',
    )
    parser.add_argument(
        '--frames', action='store_true', help='also write label maps of video frames'
    )


def _add_geotiff(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('GeoTIFF (needs mmseg_ovs[geotiff])')
    group.add_argument(
        '--bands',
        type=_positive,
        nargs='+',
        metavar='N',
        help='numbers, from 1, of red, green and blue, or of one grey band (default: '
        'as the file says)',
    )
    group.add_argument(
        '--limits',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='values that become black and white (default: 8 bits as they are, the 2nd '
        'and 98th percentile of others)',
    )
    group.add_argument(
        '--tile',
        type=_positive,
        metavar='PIXELS',
        help=f'side of the tiles, which the model sees as images (default: '
        f'{Reading.tile})',
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'has to be at least 1, not {value}')
    return value


def _temporal(words: list[str] | None) -> dict[str, Any] | None:
    """Name and settings of a strategy, checked; None: none.

    Raises:
        OpenVocabError: There is no such strategy or setting, or a value does not fit.
    """
    if words is None:
        return None
    name, *pairs = words
    settings = dict(type=name)
    for pair in pairs:
        key, _, value = pair.partition('=')
        if key in settings:
            raise VideoError(f'--temporal gives {key} twice')
        try:
            settings[key] = ast.literal_eval(value)
        except (SyntaxError, ValueError) as error:
            raise VideoError(
                f'--temporal takes a strategy and KEY=NUMBER, not {pair}: give images '
                'and videos before --temporal'
            ) from error
    build_temporal(settings)
    return settings


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'has to be 0 to 1, not {value}')
    return value


@exit_with_message()
def main(argv: list[str] | None = None) -> int:
    """Segment, write, report; returns the exit code."""
    args = parse_args(argv)
    # Cheap checks come before the weights are loaded.
    images, videos, geotiffs = _list_inputs(args)
    reading = Reading(
        bands=args.bands and tuple(args.bands),
        limits=args.limits and tuple(args.limits),
        tile=args.tile or Reading.tile,
    )
    every = args.every or 1
    temporal = _temporal(args.temporal)
    words = args.classes or args.vocabulary
    vocabulary = None if words is None else Vocabulary.build(words)
    cfg = read_config(args, read=_READ)
    if args.short_side:
        set_short_side(cfg, args.short_side)
    if args.data and vocabulary is None:
        vocabulary = data_vocabulary(cfg)
    inferencer = OpenVocabInferencer(
        cfg,
        args.checkpoint,
        args.device,
        **chosen_switches(args),
        allow_random=args.allow_random,
    )
    vocabulary = inferencer.read_vocabulary(
        vocabulary, background_score=args.background_score
    )

    settings = inferencer.settings()
    if videos:
        settings['--every'] = str(every)
        strategy = build_temporal(temporal)
        inferencer.model.check_temporal(strategy)
        settings['--temporal'] = str(strategy or 'none')
    if geotiffs:
        settings['GeoTIFF'] = (
            f'bands {reading.bands}, limits {reading.limits}, tiles {reading.tile}'
        )
    failures = []
    with ResultFolder(
        args.out,
        images,
        vocabulary,
        inferencer.palette(vocabulary),
        videos=videos,
        geotiffs=geotiffs,
        scores=args.scores,
        formats=args.format,
        frames=args.frames,
        skip_existing=args.skip_existing,
        settings=settings,
        opacity=args.opacity,
    ) as folder:
        kinds = dict(
            images=len(folder.images),
            GeoTIFFs=len(folder.geotiffs),
            videos=len(folder.videos),
        )
        given = len(images) + len(geotiffs) + len(videos)
        if skipped := given - sum(kinds.values()):
            print(f'Skipped, as they have results: {skipped}', file=sys.stderr)
        try:
            if folder.images:
                failures += segment_images(
                    inferencer, folder, args.batch_size, args.scores
                )
            for path, name in folder.geotiffs:
                failures += write_geotiff(
                    inferencer, folder, path, name, reading, args.batch_size
                )
            for path, name in folder.videos:
                failures += write_video(
                    inferencer, folder, path, name, every, args.batch_size, temporal
                )
        except KeyboardInterrupt:
            print(
                '\nTo continue, repeat the command with --skip-existing',
                file=sys.stderr,
            )
            raise
    return _report(kinds, failures, args.out)


def _list_inputs(
    args: argparse.Namespace,
) -> tuple[list[ImageSource], list[str], list[str]]:
    """Images, paths of videos and paths of GeoTIFFs."""
    files = list_files(args.inputs, IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    videos = [file for file in files if is_video(file)]
    if videos and args.scores:
        raise VideoError(
            f'--scores is for images, and {videos[0]} is a video: its scores would be '
            'many times as large as itself'
        )
    for option in ('every', 'temporal', 'frames'):
        if getattr(args, option) and not videos:
            raise VideoError(f'--{option} is for videos, and the inputs have none')
    options = ('bands', 'limits', 'tile')
    asked = next((f'--{name}' for name in options if getattr(args, name)), '')
    geotiffs = [
        file
        for file in files
        if (asked and Path(file).suffix.lower() in TIFF_SUFFIXES) or is_geotiff(file)
    ]
    if asked and not geotiffs:
        raise GeoTiffError(f'{asked} is for TIFF files, and the inputs have none')
    if geotiffs:
        load_extra('rasterio', 'geotiff', asked or 'GeoTIFF')
    if geotiffs and (args.scores or args.format):
        option = '--scores' if args.scores else '--format'
        raise GeoTiffError(
            f'{option} is for images, and {geotiffs[0]} is a GeoTIFF, which is read '
            'and written in tiles'
        )
    others = {*videos, *geotiffs}
    images = [ImageSource(file, file) for file in files if file not in others]
    return images, videos, geotiffs


def _report(kinds: dict[str, int], failures: list[str], out: str) -> int:
    """Say what was done and what was not; returns the exit code."""
    total = sum(kinds.values())
    what = ' and '.join(noun for noun, count in kinds.items() if count)
    what = what or 'images'  # all were there before
    if total == 1:
        what = what.removesuffix('s')
    print(f'{total - len(failures)} {what} segmented: {out}')
    if failures:
        print(f'{len(failures)} of {total} {what} failed:', file=sys.stderr)
        print('\n'.join(f'  {failure}' for failure in failures), file=sys.stderr)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
