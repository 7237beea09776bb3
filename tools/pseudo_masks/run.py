"""Make masks for the nouns in captions, stage by stage.

    python tools/pseudo_masks/run.py tag --captions captions.json --images train2017 \\
        --out data/pseudo_masks
    ... filter, boxes, masks, merge

Each stage writes to ``--out`` and continues where it was stopped; see
docs/pseudo_masks.md. Exit codes: 0; 1 if images could not be read (they are listed, all
others are done); 2 if an error must be fixed first.
"""

import argparse
import sys
from pathlib import Path

import mmseg_ovs  # noqa: F401  before anything of mmseg
from mmseg_ovs.pseudo_masks import (
    STOP_WORDS,
    GroundingDINODetector,
    Part,
    SAMSegmenter,
    draw_masks,
    filter_nouns,
    find_boxes,
    load_tagger,
    merge,
    read_captions,
    tag_captions,
)
from mmseg_ovs.pseudo_masks.boxes import BOXES
from mmseg_ovs.pseudo_masks.filtering import read_nouns
from mmseg_ovs.pseudo_masks.merging import PSEUDO_MASKS
from mmseg_ovs.pseudo_masks.shards import load_shard, open_shard
from mmseg_ovs.utils import Device, OpenVocabError


def tag(args: argparse.Namespace) -> list[dict]:
    """Find the nouns of the captions."""
    images = read_captions(args.captions, args.images)
    shard = tag_captions(images, load_tagger(args.tagger), args.out, args.shard)
    records = load_shard(shard)
    captions = sum(len(record['captions']) for record in records)
    print(f'{shard}: {len(records)} images, {captions} captions')
    return []


def filter_(args: argparse.Namespace) -> list[dict]:
    """Choose the nouns to look for."""
    words = STOP_WORDS
    if args.stop_words:
        words = args.stop_words.read_text(encoding='utf-8').lower().split()
    file = filter_nouns(args.out, args.min_images, words)
    content = read_nouns(args.out)
    dropped = {reason: len(names) for reason, names in content['dropped'].items()}
    asked = sum(len(image['nouns']) for image in content['images'])
    print(
        f'{file}: {len(content["nouns"])} of {content["words"]} nouns; left out: '
        f'{content["words"] - len(content["nouns"]) - sum(dropped.values())} plurals, '
        f'{dropped["incomplete"]} incomplete, {dropped["stop"]} on the stop list, '
        f'{dropped["other"]} seldom nouns, {dropped["rare"]} rare; {asked} to look for '
        f'in {len(content["images"])} images'
    )
    return []


def boxes(args: argparse.Namespace) -> list[dict]:
    """Find boxes of the nouns."""
    read_nouns(args.out)  # missing? said before the weights are loaded
    detector = GroundingDINODetector.from_pretrained(
        args.detector, args.device, args.threshold, args.max_boxes
    )
    shard = find_boxes(args.out, args.images, detector, args.shard)
    records = load_shard(shard)
    found = [record.get('boxes', []) for record in records]
    nouns = sum(len({box['noun'] for box in boxes}) for boxes in found)
    print(
        f'{shard}: {len(records)} images, {sum(map(len, found))} boxes of {nouns} nouns'
    )
    return records


def masks(args: argparse.Namespace) -> list[dict]:
    """Segment the nouns that have boxes."""
    open_shard(args.out / BOXES / args.shard.file_name, BOXES)  # as above
    segmenter = SAMSegmenter.from_checkpoint(args.sam, args.sam_checkpoint, args.device)
    shard = draw_masks(args.out, args.images, segmenter, args.shard)
    records = load_shard(shard)
    found = sum(len(record.get('masks', [])) for record in records)
    print(f'{shard}: {len(records)} images, {found} masks')
    return records


def merge_(args: argparse.Namespace) -> list[dict]:
    """Write one file from all shards."""
    file = args.to or args.out / PSEUDO_MASKS
    report = merge(args.out, file)
    without = len(report['without_masks'])
    print(
        f'{file}: {report["masks"]} masks of '
        f'{report["images"]} images; {without} have no mask ('
        f'{report["without_nouns"]} no noun), {len(report["unreadable"])} could not '
        'be read'
    )
    return report['unreadable']


OPTIONS = {
    '--out': dict(required=True, type=Path, help='folder of the run'),
    '--images': dict(required=True, type=Path, help='folder of the images'),
    '--shard': dict(default='1/1', help='process part i of n, for example 1/4'),
    '--device': dict(action=Device, default='cpu', help="'cuda' for a GPU"),
    '--captions': dict(required=True, type=Path, help="JSON in COCO's caption format"),
    '--tagger': dict(
        type=Path,
        help="folder of NLTK's averaged_perceptron_tagger_eng (default: NLTK's search "
        'path)',
    ),
    '--min-images': dict(
        type=int, default=10, help='minimum number of images whose captions have a noun'
    ),
    '--stop-words': dict(
        type=Path, help='text file of nouns to drop, replaces the built-in list'
    ),
    '--detector': dict(
        default='IDEA-Research/grounding-dino-tiny',
        help='Grounding DINO for transformers: a folder or a name on the hub',
    ),
    '--threshold': dict(type=float, default=0.35, help='minimum score of a box'),
    '--max-boxes': dict(type=int, default=20, help='most boxes per noun and image'),
    '--sam': dict(default='vit_b', help='vit_b, vit_l, vit_h, or a JSON file'),
    '--sam-checkpoint': dict(required=True, type=Path, help='weights file'),
    '--to': dict(type=Path, help=f'file to write (default: {PSEUDO_MASKS} in --out)'),
}
_OF_IMAGES = ('--images', '--shard')
STAGES = {
    'tag': (tag, *_OF_IMAGES, '--captions', '--tagger'),
    'filter': (filter_, '--min-images', '--stop-words'),
    'boxes': (
        boxes,
        *_OF_IMAGES,
        '--device',
        '--detector',
        '--threshold',
        '--max-boxes',
    ),
    'masks': (masks, *_OF_IMAGES, '--device', '--sam', '--sam-checkpoint'),
    'merge': (merge_, '--to'),
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    stages = parser.add_subparsers(required=True, metavar='STAGE')
    for name, (run, *options) in STAGES.items():
        stage = stages.add_parser(name, help=run.__doc__, description=run.__doc__)
        stage.set_defaults(run=run)
        for option in ('--out', *options):
            stage.add_argument(option, **OPTIONS[option])
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run a stage; returns the exit code."""
    try:
        args = parse_args(argv)
        if 'shard' in args:
            args.shard = Part.parse(args.shard)
        left_out = [record for record in args.run(args) if 'error' in record]
    except (OpenVocabError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if left_out:
        print(f'{len(left_out)} images could not be read:', file=sys.stderr)
        for record in left_out:
            print(f'  {record["file_name"]} {record["error"]}', file=sys.stderr)
    return 1 if left_out else 0


if __name__ == '__main__':
    sys.exit(main())
