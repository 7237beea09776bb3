"""Choose the handicap of trained classes on classes that were hidden in training.

    python tools/train.py MODEL --data DATA --cfg-options \\
        "train_dataloader.dataset.hidden_classes=['car', 'tree']"
    python tools/analysis/seen_handicap.py MODEL CHECKPOINT --data DATA --out out/h

Compares trained and hidden classes on the validation data, at all handicaps in one
pass. Other classes, such as those never labelled in training, play no part: neither
their names nor their pixels. Writes ``handicap.csv`` and ``handicap.png``; prints the
chosen ``test_cfg.seen_handicap``. With ``--draw-test`` it draws the curve of the test
data, all classes that were not trained being unseen, and chooses nothing. See
docs/own_data.md.
"""

import argparse
import csv
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from mmseg_ovs.analysis import plot_handicaps
from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.composition import (
    MODEL_KEYS,
    add_config_arguments,
    read_config,
    require_data,
)
from mmseg_ovs.engine import data_vocabulary
from mmseg_ovs.evaluation.handicap_curve import (
    CurvePoint,
    HandicapCurve,
    best_of_sides,
    best_point,
    useful_handicaps,
)
from mmseg_ovs.models.decode_heads.class_targets import sub_vocabulary
from mmseg_ovs.models.utils import read_checkpoint
from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.structures.seen_names import seen_mask, trained_names
from mmseg_ovs.utils import (
    Device,
    OpenVocabError,
    OutputFolder,
    exit_with_message,
    replacing,
    some_of,
)

LOOK = 8  # images from which the range of the handicaps is read
STEPS = 31
IGNORED = -1
# Another rule would decide after the arg max, or scores would have another scale.
OTHER_RULES = ('min_probability', 'min_area')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_config_arguments(parser)
    parser.add_argument('checkpoint', help='trained with hidden_classes')
    parser.add_argument(
        '--out', required=True, type=Path, action=OutputFolder, help='output folder'
    )
    parser.add_argument(
        '--handicaps',
        type=float,
        nargs='+',
        help=f'what to compare (default: {STEPS} steps up to what turns nearly every '
        'pixel)',
    )
    parser.add_argument(
        '--draw-test',
        action='store_true',
        help='draw the curve of the test data, whose unseen classes choose nothing',
    )
    parser.add_argument(
        '--device', action=Device, default='cpu', help="'cuda' for a GPU"
    )
    args = parser.parse_intermixed_args(argv)
    if not all(0 <= handicap < math.inf for handicap in args.handicaps or ()):
        parser.error(f'--handicaps are numbers from 0 on, not {args.handicaps}')
    return args


def compared_classes(
    vocabulary: Vocabulary, metainfo: dict, draw_test: bool
) -> tuple[list[int], Tensor]:
    """Labels that are compared, and which of them were trained.

    Args:
        vocabulary: The classes of the data.
        metainfo: Of the training data.
        draw_test: Compare all classes, not only trained and hidden ones.

    Returns:
        Labels, and a BoolTensor of their number.

    Raises:
        OpenVocabError: One side has no class.
    """
    hidden = metainfo.get('hidden_classes') or ()
    seen = seen_mask(vocabulary, trained_names(metainfo))
    if draw_test:
        unseen = ~seen
    elif not hidden:
        raise OpenVocabError(
            'The checkpoint was trained without hidden classes, and the handicap is '
            'not chosen on those of the test: train with --cfg-options '
            '"train_dataloader.dataset.hidden_classes=[...]"'
        )
    else:
        unseen = seen_mask(vocabulary, hidden) & ~seen
    if not (seen.any() and unseen.any()):
        raise OpenVocabError(
            f'{int(seen.sum())} classes of the data were trained and '
            f'{int(unseen.sum())} {"were not" if draw_test else "hidden"}, of '
            f'{some_of(vocabulary.classes, 10)}: both sides need some'
        )
    kept = (seen | unseen).nonzero()[:, 0]
    return kept.tolist(), seen[kept]


def score_maps(
    inferencer: OpenVocabInferencer,
    cfg: Config,
    vocabulary: Vocabulary,
    kept: Sequence[int],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores (N, H, W) and labels (H, W) of the kept classes, image after image."""
    model = inferencer.model
    renumbered = torch.full((2**16,), IGNORED)
    renumbered[torch.tensor(kept)] = torch.arange(len(kept))
    asked = sub_vocabulary(vocabulary, list(kept))
    settings = dict(keep_logits=True, logit_scale=None, seen_handicap=None)
    for batch in Runner.build_dataloader(cfg.test_dataloader):
        data = model.data_preprocessor(batch, False)
        for sample in model.predict(**data, vocabulary=asked, **settings):
            if 'gt_sem_seg' not in sample:
                raise OpenVocabError(
                    f'{sample.get("img_path")} comes without labels to compare with: '
                    "add dict(type='LoadLabelMap') to the pipeline of the data"
                )
            label = renumbered[sample.gt_sem_seg.data[0].long().cpu()]
            yield sample.seg_logits.data, label


def write(out: Path, points: Sequence[CurvePoint]) -> None:
    """``handicap.csv``."""
    with replacing(out / 'handicap.csv') as path, path.open('w', newline='') as file:
        table = csv.writer(file)
        table.writerow(['handicap', 'seen', 'unseen', 'harmonic'])
        for point in points:
            row = (point.handicap, point.seen, point.unseen, point.harmonic)
            table.writerow([f'{value:.6g}' for value in row])


@exit_with_message()
def main(argv: list[str] | None = None) -> int:
    """Score, write, report; returns the exit code."""
    args = parse_args(argv)
    part = 'test' if args.draw_test else 'val'
    cfg = read_config(args, read=(*MODEL_KEYS, f'{part}_dataloader', 'default_hooks'))
    if not args.draw_test:
        require_data(cfg, 'val')
        cfg.test_dataloader = cfg.val_dataloader
    require_data(cfg, 'test')
    for name in OTHER_RULES:
        if (cfg.model.get('test_cfg') or {}).get(name):
            raise OpenVocabError(
                f'test_cfg.{name} decides after the best class is taken, and its '
                f'probabilities change with the handicap: --cfg-options '
                f'model.test_cfg.{name}=None'
            )
    meta = read_checkpoint(args.checkpoint).get('meta') or {}
    vocabulary = data_vocabulary(cfg)
    kept, seen = compared_classes(
        vocabulary, meta.get('dataset_meta') or {}, args.draw_test
    )
    inferencer = OpenVocabInferencer(cfg, args.checkpoint, args.device)
    maps = [inferencer, cfg, vocabulary, kept]
    handicaps = sorted(args.handicaps or ())
    if not handicaps:
        sides = (best_of_sides(s, seen) for s, _ in islice(score_maps(*maps), LOOK))
        leads = [(first - second).flatten()[::16] for (first, _), (second, _) in sides]
        handicaps = useful_handicaps(torch.cat(leads), STEPS)
    curve = HandicapCurve(seen, handicaps, IGNORED)
    for scores, label in score_maps(*maps):
        curve.add(scores, label)
    points = curve.points()
    write(args.out, points)
    chosen = None if args.draw_test else best_point(points)
    title = f'{Path(cfg.filename).stem}: {int(seen.sum())} trained classes, '
    title += f'{int((~seen).sum())} {"untrained" if args.draw_test else "hidden"}'
    plot_handicaps(args.out / 'handicap.png', points, chosen, title)
    print(f'{title}: {args.out}')
    for point in points:
        mark = '  <- chosen' if point is chosen else ''
        print(
            f'  {point.handicap:9.4g}  seen {point.seen:5.1f}  '
            f'unseen {point.unseen:5.1f}  harmonic {point.harmonic:5.1f}{mark}'
        )
    if chosen is not None:
        if not chosen.harmonic > 0:
            raise OpenVocabError(
                'No handicap lets a hidden class win where it is labelled: hide some '
                'that the validation data show, or train longer'
            )
        print(f'--cfg-options model.test_cfg.seen_handicap={chosen.handicap:.4g}')
        if chosen is points[-1]:
            print('It is the largest compared: try larger --handicaps', file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(main())
