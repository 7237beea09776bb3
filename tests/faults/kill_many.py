"""Kills everything that can be resumed, many times at random moments.

    python tests/faults/kill_many.py --times 20 --jobs training benchmark

Each time a run in a fresh folder is killed (SIGKILL to its first process), what lies
there is read, and the run is started again. It survives if no file that looks finished
is broken, and if the result equals that of a run that was never killed: weights,
optimizer and schedules bit by bit, all other results byte by byte.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

import mmseg_ovs  # noqa: F401  before anything of mmseg
from mmseg_ovs.datasets.converters.coco_object import _THINGS
from mmseg_ovs.datasets.shapes import write_shapes
from mmseg_ovs.pseudo_masks.shards import load_shard

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.tool_loader import ROOT, load_tool

CONFIG = ROOT / 'configs/text_similarity/text-similarity_mit-tiny_shapes-112x112.py'


class Job(ABC):
    """Something that can be resumed, on tiny inputs.

    Args:
        inputs: An empty folder for what it reads.
    """

    def __init__(self, inputs: Path) -> None:
        self.inputs = inputs

    def prepare(self, out: Path) -> None:
        """Make the folder, with what has to lie there before the first run."""
        out.mkdir()

    @abstractmethod
    def run(self, out: Path) -> None:
        """Start, or go on; called in a process of its own."""

    def result(self, out: Path) -> dict[str, Any]:
        """What has to be the same at the end: the files, as bytes."""
        return {
            str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in finished_files(out)
        }


class Training(Job):
    """``tools/train.py --deterministic``, with a checkpoint at each step."""

    steps = 10

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        write_shapes(inputs, sizes=(24, 1, 1))

    def run(self, out: Path) -> None:
        options = {
            'train_dataloader.dataset.data_root': self.inputs,
            'train_dataloader.batch_size': 4,
            'train_cfg.max_iters': self.steps,
            'default_hooks.checkpoint.interval': 1,
            'default_hooks.checkpoint.max_keep_ckpts': 2,
            **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
            **dict.fromkeys(('test_cfg', 'test_dataloader', 'test_evaluator')),
        }
        pairs = [f'{key}={value}' for key, value in options.items()]
        arguments = ['--work-dir', str(out), '--resume', '--deterministic']
        sys.argv = ['train.py', str(CONFIG), *arguments, '--cfg-options', *pairs]
        load_tool('tools/train.py').main()

    def result(self, out: Path) -> dict[str, Any]:
        last = torch.load(out / f'iter_{self.steps}.pth', weights_only=True)
        parts = {k: last[k] for k in ('state_dict', 'optimizer', 'param_schedulers')}
        meta = {k: last['meta'][k] for k in ('iter', 'epoch', 'seed')}
        # A checkpoint that was out of date when its run was killed may be left over.
        kept = [f'iter_{self.steps - n}.pth' for n in (0, 1)]
        return dict(
            flatten(parts), meta=meta, kept=[(out / name).is_file() for name in kept]
        )


class Features(Job):
    """``tools/extract_features.py``: what Talk2DINO is trained on."""

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        tests = load_tool('tests/tools/test_extract_features.py')
        text = tests.CONFIG.replace('CountingDINOv2', 'DINOv2')
        self.config = tests.write_inputs(inputs, text.replace('{root}', str(ROOT)))

    def run(self, out: Path) -> None:
        options = ['--shard-size', '1', '--batch-size', '1']
        main = load_tool('tools/extract_features.py').main
        main([str(self.config), '--out', str(out), *options])


class TeacherFeatures(Job):
    """``tools/extract_teacher_features.py``: SAM's features for OVS-DINO."""

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        tests = load_tool('tests/tools/test_extract_teacher_features.py')
        self.config = tests.write_inputs(inputs, 20)

    def run(self, out: Path) -> None:
        torch.manual_seed(0)  # the teacher's weights are drawn
        step = 'train_dataloader.dataset.pipeline.3.folder'
        main = load_tool('tools/extract_teacher_features.py').main
        words = ['--allow-random', '--batch-size', '1']
        main([str(self.config), *words, '--cfg-options', f'{step}={out}'])


class PseudoMasks(Job):
    """``tools/pseudo_masks/run.py``: all five stages."""

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        self.paths = vars(load_tool('tests/tools/test_pseudo_masks.py').Files(inputs))

    def run(self, out: Path) -> None:
        kind = load_tool('tests/tools/test_pseudo_masks.py').Files
        files = kind.__new__(kind)
        vars(files).update(self.paths)
        assert files.run(out) == [0, 0, 0, 0, 0]


class COCOObject(Job):
    """``tools/dataset_converters/coco_object.py``, with two processes."""

    images = 120

    def prepare(self, out: Path) -> None:
        super().prepare(out)
        draw = np.random.default_rng(0)
        used = np.array([*_THINGS, *range(91, 182), 255], np.uint8)
        for folder in ('images/val2017', 'annotations/val2017'):
            (out / folder).mkdir(parents=True)
        for number in range(self.images):
            labels = draw.choice(used, (48, 64))
            name = f'val2017/{number:012d}'
            Image.fromarray(labels).save(out / 'annotations' / f'{name}.png')
            Image.fromarray(labels).save(out / 'images' / f'{name}.jpg')

    def run(self, out: Path) -> None:
        main = load_tool('tools/dataset_converters/coco_object.py').main
        code = main([str(out), '--splits', 'val', '--workers', '2'])
        assert code == 1, 'the published split has more images'
        report = json.loads((out / 'coco_object_val.json').read_text())
        assert report['converted'] == self.images


class ADE20K847(Job):
    """``tools/dataset_converters/ade20k_847.py``, which makes images, too."""

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        tests = load_tool('tests/datasets/converters/test_ade20k_847.py')
        self.source = inputs / 'ADE20K_2021_17_01'
        ids = np.array(tests.RAW_IDS)
        draw = np.random.default_rng(0)
        rows = [
            tests.add(self.source, 'val', number, ids[draw.integers(0, 847, (30, 40))])
            for number in range(40)
        ]
        tests.write_index(self.source, rows)

    def run(self, out: Path) -> None:
        main = load_tool('tools/dataset_converters/ade20k_847.py').main
        arguments = ['--splits', 'val', '--workers', '1', '--out', str(out)]
        code = main([str(self.source), *arguments])
        assert code == 1, 'the published split has more images'


class Shapes(Job):
    """``tools/make_shapes.py``, with two processes."""

    def run(self, out: Path) -> None:
        write_shapes(out, sizes=(60, 8, 8), workers=2)


class Benchmark(Job):
    """``tools/benchmark.py``: two models on the shapes."""

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        write_shapes(inputs / 'data/shapes', seed=1, sizes=(1, 1, 2))
        plan = load_tool('tests/tools/test_benchmark.py').PLAN
        (inputs / 'plan.yml').write_text(plan)

    def run(self, out: Path) -> None:
        os.chdir(self.inputs)
        os.environ['PYTHONPATH'] = str(ROOT)
        main = load_tool('tools/benchmark.py').main
        main(['plan.yml', '--out', str(out), '--devices', 'cpu', '--allow-random'])

    def result(self, out: Path) -> dict[str, Any]:
        results = {}
        for path in sorted(out.glob('runs/*/result.json')):
            content = json.loads(path.read_text())
            results[path.parent.name] = (
                content['metrics'],
                {k: v for k, v in content['protocol'].items() if 'time' not in k},
            )
        assert len(results) == 2
        assert all((out / f'table.{suffix}').is_file() for suffix in ('csv', 'md'))
        return results


JOBS = dict(
    training=Training,
    features=Features,
    teacher=TeacherFeatures,
    pseudo_masks=PseudoMasks,
    coco_object=COCOObject,
    ade20k_847=ADE20K847,
    shapes=Shapes,
    benchmark=Benchmark,
)


def finished_files(out: Path) -> list[Path]:
    """Files that look finished: neither locks nor what is being written."""
    return sorted(
        path
        for path in out.rglob('*')
        if path.is_file()
        and not path.name.startswith('.')
        and not path.name.endswith(('.lock', '.part'))
        and '.tmp' not in path.name
    )


def check_whole(out: Path) -> None:
    """Read every file that looks finished; a broken one raises."""
    readers: dict[str, Callable[[Path], Any]] = {
        '.pth': lambda path: torch.load(path, weights_only=True),
        '.safetensors': load_file,
        '.json': lambda path: json.loads(path.read_text()),
        '.jsonl': load_shard,
        '.png': lambda path: Image.open(path).load(),
        '.jpg': lambda path: Image.open(path).load(),
    }
    for path in finished_files(out):
        # Logs of a training are written line by line.
        if path.suffix in readers and 'vis_data' not in path.parts:
            readers[path.suffix](path)


def flatten(value: Any, name: str = '') -> dict[str, Any]:
    """Nested dicts and lists as one dict of digests of tensors, and of other values."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            key: leaf
            for part, inner in items
            for key, leaf in flatten(inner, f'{name}/{part}').items()
        }
    if isinstance(value, torch.Tensor):
        content = value.contiguous().numpy().tobytes()
        return {name: (tuple(value.shape), hashlib.sha256(content).hexdigest())}
    return {name: value}


@dataclass
class Count:
    """What happened to a job."""

    kills: int = 0
    survived: int = 0
    in_the_midst: int = 0  # something was finished when it was killed
    leftovers: int = 0  # a file was being written when it was killed


def start(job: Job, out: Path, log: Path) -> multiprocessing.Process:
    """Run a job in a process of its own."""
    context = multiprocessing.get_context('forkserver')
    process = context.Process(target=_work, args=(job, out, log))
    process.start()
    return process


def finish(job: Job, out: Path, log: Path, timeout: float = 600) -> None:
    """Run a job to its end."""
    process = start(job, out, log)
    process.join(timeout)
    hangs = process.is_alive()
    process.kill()
    process.join()
    assert not hangs, f'it hangs\n{log.read_text()}'
    assert process.exitcode == 0, f'exit code {process.exitcode}\n{log.read_text()}'


def _work(job: Job, out: Path, log: Path) -> None:
    with log.open('ab') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ['OMP_NUM_THREADS'] = '1'
    torch.set_num_threads(1)
    try:
        job.run(out)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def kill_many(
    kind: type[Job], folder: Path, times: int, rng: random.Random
) -> tuple[Count, list[str]]:
    """Kill a job ``times`` times, each in a fresh folder; the counts and failures."""
    inputs = folder / 'inputs'
    inputs.mkdir()
    job = kind(inputs)
    # One name for all: the work folder stands in what is written.
    out, log = folder / 'out', folder / 'log.txt'

    def fresh() -> None:
        shutil.rmtree(out, ignore_errors=True)
        log.unlink(missing_ok=True)
        job.prepare(out)

    fresh()
    begin = time.monotonic()
    finish(job, out, log)
    duration = time.monotonic() - begin
    expected = job.result(out)
    count, failures = Count(), []
    working = duration  # later: seconds from the first finished file to the end
    while count.kills < times:
        fresh()
        before = len(finished_files(out))
        begin = time.monotonic()
        process = start(job, out, log)
        # Every other time when there is something to lose: starting takes longest.
        late = count.kills % 2 == 1
        if late:
            while process.is_alive() and len(finished_files(out)) == before:
                time.sleep(0.001)
        first = time.monotonic()
        process.join(rng.uniform(0, working if late else duration))
        delay = time.monotonic() - begin
        if not process.is_alive():
            if late:
                working = time.monotonic() - first
            else:
                duration = delay  # the first one was slower
            continue
        process.kill()
        process.join()
        count.kills += 1
        count.in_the_midst += len(finished_files(out)) > before
        count.leftovers += any('.tmp' in path.name for path in out.rglob('*'))
        try:
            check_whole(out)
            finish(job, out, log)
            check_whole(out)
            result = job.result(out)
            differing = [
                key
                for key in expected.keys() | result.keys()
                if expected.get(key) != result.get(key)
            ]
            assert not differing, f'{differing[:3]} differ'
            left = [path.name for path in out.rglob('*') if '.tmp' in path.name]
            assert not left, f'{left[:3]} are left over'
        except Exception as error:
            failures.append(f'killed after {delay:.2f} s: {error!r}'[:3000])
        else:
            count.survived += 1
    return count, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--times', type=int, default=20, help='kills of each job')
    parser.add_argument('--jobs', nargs='+', choices=JOBS, default=list(JOBS))
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    args = parser.parse_args()
    multiprocessing.get_context('forkserver').set_forkserver_preload(
        ['mmseg_ovs', 'open_clip', 'mmseg.datasets', 'transformers', 'nltk.tag']
    )
    failed = False
    print('job            kills survived  midst  unfinished  seconds', flush=True)
    for name in args.jobs:
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            rng = random.Random(f'{args.seed} {name}')
            count, failures = kill_many(JOBS[name], Path(folder), args.times, rng)
        print(
            f'{name:14} {count.kills:5} {count.survived:8} {count.in_the_midst:6} '
            f'{count.leftovers:11} {time.monotonic() - begin:8.0f}',
            *failures,
            sep='\n  ',
            flush=True,
        )
        failed |= bool(failures)
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
