"""Segment pictures from the command line.

    python -m mmseg_ovs.predict photos/ --classes "a pikachu" tree road \\
        --config CONFIG --checkpoint CHECKPOINT --out out/
"""

from __future__ import annotations

import argparse
import sys

from mmengine.config import Config, DictAction
from mmengine.utils import ProgressBar

import mmseg_ovs  # noqa: F401  before anything of mmseg

from .apis import (
    ImageError,
    OpenVocabInferencer,
    ResultFolder,
    UnknownConfigError,
    find_config,
    list_images,
)
from .models.text_encoders import UnknownNameError
from .models.utils import CheckpointError
from .structures.vocabulary import Vocabulary, VocabularyError

# What the caller can mend; anything else keeps its traceback.
_MISTAKES = (
    CheckpointError,
    ImageError,
    UnknownConfigError,
    UnknownNameError,
    VocabularyError,
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m mmseg_ovs.predict',
        description='Segment pictures by words. An image that fails does not stop the '
        'others; it is listed at the end and the exit code is 1.',
    )
    parser.add_argument('images', nargs='+', help='image files or folders of them')
    words = parser.add_mutually_exclusive_group()
    words.add_argument(
        '--classes',
        nargs='+',
        help='words to look for; commas separate synonyms: "building, edifice"',
    )
    words.add_argument(
        '--vocabulary',
        help='named vocabulary or .json/.txt file; without it and --classes, the '
        'classes of the config or of the data the checkpoint was trained on',
    )
    parser.add_argument(
        '--background',
        type=float,
        help='score; pixels where no class exceeds it are background',
    )
    parser.add_argument(
        '--config', required=True, help='path of a config, or name of a shipped one'
    )
    parser.add_argument(
        '--checkpoint',
        help='checkpoint of the whole model; when left out, each part loads the '
        'weights its own init_cfg names',
    )
    parser.add_argument(
        '--out', required=True, help='folder for vis/, pred/ and legend.json'
    )
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--device', help='by default the GPU if there is one')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='settings that override the config, as key=value',
    )
    args = parser.parse_args(argv)
    if args.batch_size < 1:
        parser.error(f'--batch-size has to be at least 1, not {args.batch_size}')
    return args


def main(argv: list[str] | None = None) -> int:
    """Segment, write, report; returns the exit code."""
    args = parse_args(argv)
    try:
        # Cheap checks come before the weights are loaded.
        sources = list_images(args.images)
        words = args.classes or args.vocabulary
        vocabulary = None if words is None else Vocabulary.build(words)
        cfg = Config.fromfile(find_config(args.config))
        cfg.merge_from_dict(args.cfg_options)
        inferencer = OpenVocabInferencer(cfg, args.checkpoint, args.device)
        predictions = inferencer.predict(
            sources, vocabulary, args.background, args.batch_size
        )
    except _MISTAKES as error:
        raise SystemExit(f'error: {error}') from error

    folder = ResultFolder(args.out, sources, inferencer.model.vocabulary)
    failures = []
    bar = ProgressBar(len(sources), file=sys.stderr)
    for prediction in predictions:
        folder.write(prediction.labels, inferencer.draw(prediction))
        if prediction.error is not None:
            failures.append(f'{prediction.source.name}: {prediction.reason}')
        bar.update()
    print(file=sys.stderr)
    print(f'{len(sources) - len(failures)} images segmented: {folder.folder}')
    if failures:
        print(f'{len(failures)} of {len(sources)} images failed:', file=sys.stderr)
        print('\n'.join(f'  {failure}' for failure in failures), file=sys.stderr)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
