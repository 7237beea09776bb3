"""Demo: draw the shapes set, train on it, segment unseen classes.

    python tools/demo.py                  # about 6 minutes on 2 CPU cores
    python tools/demo.py --controls all   # also trains a model without text

No images or weights are downloaded. The table compares the model with its baselines
(shuffled names, colour only, the best possible score on the grid). It is written to
``demo_out``, with images of predictions.
"""

import argparse
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from analysis.shapes_controls import (
    COLUMNS,
    colour_only,
    colour_only_given_classes,
    grid_ceiling,
    load_split,
    mean_colours,
    score,
)
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner
from prettytable import PrettyTable

from mmseg_ovs.datasets import ShapesDataset
from mmseg_ovs.datasets.shapes import DEFAULT_SIZES, SPLITS, write_shapes
from mmseg_ovs.engine.hooks import VocabularyHook
from mmseg_ovs.jobs import write_json
from mmseg_ovs.models.text_encoders import save_embeddings
from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils import OutputFolder, exit_with_message, write_whole

CONFIG = (
    Path(__file__).resolve().parents[1]
    / 'configs/text_similarity/text-similarity_mit-tiny_shapes-112x112.py'
)
STRIDE = 4  # pixels a position of the model's score map
CLASSES = ShapesDataset.METAINFO['classes']
SHUFFLES = 3  # shuffled vocabularies, whose scores are averaged
REPORTS = 10  # lines of progress in a training run

LEGEND = f"""
names shuffled         every class under another's name, mean of {SHUFFLES} shuffles
random vectors         trained with a random vector a class instead of its name
colour                 every pixel is the class of the nearest mean colour
colour, classes known  the same among the classes of the image
ceiling                the true labels through the model's grid of {STRIDE} pixels
"""


class ProgressHook(Hook):
    """Print the loss and the time left, a few times in a training run."""

    priority = 'LOW'

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self.start, self.losses = time.perf_counter(), []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Report the mean loss since the last report."""
        self.losses.append(outputs['loss'].item())
        done, total = runner.iter + 1, runner.max_iters
        if done % max(1, total // REPORTS) and done != total:
            return
        passed = time.perf_counter() - self.start
        left = passed / done * (total - done)
        loss = sum(self.losses) / len(self.losses)
        say(f'   {done}/{total} iterations, loss {loss:.3f}, {clock(left)} to go')
        self.losses = []


class Stopwatch:
    """Names the stages, and how long each took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        say(f'==> {stage}')
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'


def load_config(args: argparse.Namespace, work_dir: Path) -> Config:
    """The config of the recipe, with the arguments of the demonstration."""
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir = str(work_dir)
    cfg.randomness = dict(seed=args.seed)
    cfg.log_level = 'ERROR'  # the demonstration reports by itself
    for split in ('train', 'test'):
        cfg[f'{split}_dataloader'].dataset.data_root = args.data_root
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    if args.iters is not None:
        rescale_schedule(cfg, args.iters)
    return cfg


def rescale_schedule(cfg: Config, iters: int) -> None:
    """Stretch or shrink the training run, its warm-up and its decay to ``iters``."""
    ratio = iters / cfg.train_cfg.max_iters
    cfg.train_cfg.max_iters = cfg.default_hooks.checkpoint.interval = iters
    for scheduler in cfg.param_scheduler:
        scheduler.begin = round(scheduler.begin * ratio)
        scheduler.end = max(scheduler.begin + 1, round(scheduler.end * ratio))


def use_random_vectors(cfg: Config, path: Path, seed: int) -> None:
    """Replace the text encoder: one random vector a class, unrelated to its name."""
    dims = cfg.model.decode_head.text_channels
    vectors = torch.randn(
        len(CLASSES), dims, generator=torch.Generator().manual_seed(seed)
    )
    save_embeddings(path, CLASSES, vectors)
    cfg.model.text_encoder = dict(type='PrecomputedTextEncoder', path=str(path))


def train(cfg: Config) -> Runner:
    """Run the training loop, without mmengine's own lines."""
    runner = Runner.from_cfg(cfg)
    runner.register_hook(ProgressHook())
    runner.train()
    return runner


def test(runner: Runner, vocabulary: Vocabulary | None = None) -> dict[str, float]:
    """Scores on the test images; ``vocabulary`` replaces the names of the set."""
    hook = next(hook for hook in runner.hooks if isinstance(hook, VocabularyHook))
    hook.vocabulary = vocabulary
    return runner.test()


def shuffled_vocabulary(seed: int) -> Vocabulary:
    """Every class under the name of another one."""
    order = torch.randperm(
        len(CLASSES), generator=torch.Generator().manual_seed(seed)
    ).tolist()
    names = dict(zip(order, order[1:] + order[:1], strict=True))
    return Vocabulary(CLASSES, tuple((CLASSES[names[i]],) for i in range(len(CLASSES))))


def mean_scores(scores: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each score of several tests."""
    return {
        key: sum(float(row[key]) for row in scores) / len(scores) for key in COLUMNS
    }


def image_controls(data_root: str) -> dict[str, dict[str, float]]:
    """Scores which need no model, on the test images."""
    samples = load_split(data_root, 'test')
    colours = mean_colours(samples)
    controls = {
        'colour': colour_only(colours),
        'colour, classes known': colour_only_given_classes(colours),
        'ceiling': grid_ceiling(STRIDE),
    }
    return {name: score(samples, predict) for name, predict in controls.items()}


def draw_predictions(runner: Runner, folder: Path, count: int) -> list[Path]:
    """Image, prediction and label side by side, of the first test images."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset = runner.test_dataloader.dataset
    runner.model.eval()
    runner.visualizer.dataset_meta = dataset.metainfo
    paths = []
    for index in range(min(count, len(dataset))):
        data = pseudo_collate([dataset[index]])
        image = data['inputs'][0].permute(1, 2, 0).numpy()[..., ::-1].copy()
        with torch.no_grad():
            sample = runner.model.test_step(data)[0]
        path = folder / f'{Path(sample.img_path).stem}.png'
        runner.visualizer.add_datasample(path.stem, image, sample, out_file=str(path))
        paths.append(path)
    return paths


def make_table(results: dict[str, dict[str, float]]) -> str:
    """The scores in percent: a column a result, a row a part of the vocabulary."""
    meta = ShapesDataset.METAINFO
    classes, seen = set(meta['classes']), set(meta['seen_classes'])
    parts = {'all classes': ('mIoU', classes)}
    for name, group in dict(classes=classes, **meta['groups']).items():
        suffix = '' if name == 'classes' else f'_{name}'
        parts[f'seen {name}'] = (f'mIoU{suffix}_seen', seen & set(group))
        parts[f'unseen {name}'] = (f'mIoU{suffix}_unseen', set(group) - seen)
    table = PrettyTable(['mIoU in percent', 'number', *results])
    table.align = 'r'
    table.align['mIoU in percent'] = 'l'
    for name, (key, members) in parts.items():
        row = [f'{float(scores[key]):.1f}' for scores in results.values()]
        table.add_row([name, len(members), *row])
    row = [f'{float(scores["aAcc"]):.1f}' for scores in results.values()]
    table.add_row(['right pixels', '', *row])
    return table.get_string()


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--out', action=OutputFolder, default='demo_out', help='output folder'
    )
    parser.add_argument(
        '--data-root', action=OutputFolder, default='data/shapes', help='shapes set'
    )
    parser.add_argument('--seed', type=int, default=0, help='training seed')
    parser.add_argument(
        '--controls',
        choices=('default', 'all'),
        default='default',
        help='all: also train a model with random class vectors instead of text',
    )
    parser.add_argument('--iters', type=int, help="iterations (default: the config's)")
    parser.add_argument(
        '--sizes',
        type=int,
        nargs=len(SPLITS),
        default=DEFAULT_SIZES,
        metavar=tuple(split.upper() for split in SPLITS),
        help='images per split',
    )
    parser.add_argument(
        '--images', type=int, default=8, help='number of test images to draw'
    )
    return parser.parse_args()


@exit_with_message()
def main() -> None:
    args = parse_args()
    out, stage = Path(args.out), Stopwatch()
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, float]] = {}
    # Upstream's notices to developers would bury the report.
    warnings.simplefilter('ignore')

    with stage('making the images'):
        drawn = write_shapes(args.data_root, sizes=args.sizes, workers=os.cpu_count())
        say(f'   {args.data_root}: {drawn or "no"} new images of {sum(args.sizes)}')
    with stage('training on the seen classes'):
        cfg = load_config(args, out / 'work')
        say(f'   {CONFIG.name}, {torch.get_num_threads()} threads')
        runner = train(cfg)
    with stage('testing, with the names of the set and with shuffled ones'):
        results['model'] = test(runner)
        results['names shuffled'] = mean_scores(
            [test(runner, shuffled_vocabulary(i)) for i in range(SHUFFLES)]
        )
    with stage('drawing predictions'):
        runner.model.set_vocabulary(CLASSES)
        images = draw_predictions(runner, out / 'predictions', args.images)
    if args.controls == 'all':
        with stage('training on random vectors instead of names'):
            cfg = load_config(args, out / 'work_random')
            use_random_vectors(cfg, out / 'random_vectors.safetensors', args.seed)
            results['random vectors'] = test(train(cfg))
    with stage('scoring the controls without a model'):
        results |= image_controls(args.data_root)

    table = make_table(results)
    write_whole(out / 'table.txt', f'{table}\n{LEGEND}')
    scores = {
        n: {key: float(row[key]) for key in COLUMNS} for n, row in results.items()
    }
    seconds = {name: round(value, 1) for name, value in stage.seconds.items()}
    write_json(out / 'results.json', dict(scores=scores, seconds=seconds))
    say(f'\n{table}\n{LEGEND}')
    for name, value in stage.seconds.items():
        say(f'{clock(value):>6}  {name}')
    say(f'{clock(sum(stage.seconds.values())):>6}  in all')
    say(f'{len(images)} predictions beside their labels: {out / "predictions"}')
    say(f'table and scores: {out / "table.txt"}, {out / "results.json"}')


if __name__ == '__main__':
    main()
