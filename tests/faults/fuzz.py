"""Random broken inputs: each ends in a result or is named, and nothing ends in a crash.

    PYTHONPATH=. python tests/faults/fuzz.py --count 200 --seed 0

Runs ``predict`` on folders of random files and ``tools/test.py`` on random data sets,
with a tiny model, in this process. Exit code 1 if a file was lost or there was a crash.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from broken_images import encode, jpeg_of, make_image, png_of, tiff_of
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image

import mmseg_ovs.predict
from tests.apis.tiny_model import WORDS, tiny_config
from tests.tool_loader import forget_run, run_tool

KINDS = ('PNG', 'JPEG', 'TIFF', 'BMP', 'WEBP', 'GIF', 'PPM')
MODES = ('RGB', 'L', 'RGBA', 'P', '1', 'LA', 'CMYK', 'I;16')
NAMES = ('photo', 'IMG 0001', 'käfer', 'a.b.c', '写真', '-x', "it's", 'x' * 80)
SUFFIXES = ('.png', '.JPG', '.jpeg', '.tif', '.gif', '.heic', '.webp', '.pgm', '.raw')
Rng = np.random.Generator


def random_image(rng: Rng) -> bytes:
    """A good file of any kind, mode and size."""
    height, width = rng.integers(1, 70, 2).tolist()
    image = Image.fromarray(make_image(height, width))
    mode = str(rng.choice(MODES))
    if mode == 'I;16':
        deep = np.asarray(image.convert('L')).astype(np.uint16)
        image = Image.fromarray(deep << int(rng.integers(0, 9)))
    else:
        image = image.convert(mode)
    for kind in rng.permutation(KINDS):
        with contextlib.suppress(OSError, KeyError, ValueError):
            return encode(image, str(kind))
    raise AssertionError(f'nothing takes {mode}')


def random_file(rng: Rng) -> bytes:
    """A good file, or one that was damaged, or lies."""
    content = random_image(rng)
    place = int(rng.integers(0, len(content)))
    broken: list[Callable[[], bytes]] = [
        lambda: content,
        lambda: content[:place],
        lambda: content[:place] + rng.bytes(8) + content[place + 8 :],
        lambda: content[:20] + rng.bytes(10) + content[30:],
        lambda: rng.bytes(300),
        lambda: b'',
        lambda: b'<html>404</html>',
        lambda: png_of(*rng.integers(20_000, 2**31, 2).tolist()),
        lambda: jpeg_of(*rng.integers(20_000, 65_500, 2).tolist()),
        lambda: tiff_of(np.ones((9, 9, int(rng.integers(2, 9))), np.uint8)),
        lambda: tiff_of(np.full((9, 9, 1), np.nan, np.float32)),
    ]
    return broken[int(rng.integers(0, len(broken)))]()


def fill(folder: Path, count: int, rng: Rng) -> None:
    """Random files, and what else is found in folders."""
    folder.mkdir(parents=True)
    for number in range(count):
        name = f'{rng.choice(NAMES)}{number}{rng.choice(SUFFIXES)}'
        kind = rng.integers(0, 20)
        if kind == 0:
            (folder / name).mkdir()
        elif kind == 1:
            (folder / name).symlink_to('nowhere')
        else:
            (folder / name).write_bytes(random_file(rng))


def run(function: Callable[[], object]) -> tuple[int, str, str | None]:
    """Exit code, what was printed, and the traceback if it crashed."""
    printed, crash = io.StringIO(), None
    forget_run()  # the logger's stream
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = function() or 0
        except SystemExit as end:
            code = end.code
        except BaseException:
            code, crash = 1, traceback.format_exc()
    text = printed.getvalue()
    if isinstance(code, str):
        text, code = f'{text}\n{code}', 1
    if crash is None and 'Traceback' in text:
        crash = text
    return code or 0, text, crash


class Fuzz:
    """The runs; ``faults`` are what went wrong.

    Args:
        work: An empty folder.
    """

    def __init__(self, work: Path) -> None:
        self.work, self.faults = work, []
        self.results = self.named = 0
        self.options = [f'--checkpoint={work}/tiny.pth', '--device=cpu']
        self.config = work / 'tiny.py'
        init_default_scope('mmseg')
        torch.manual_seed(0)
        state = MODELS.build(tiny_config().model).state_dict()
        torch.save(dict(state_dict=state), work / 'tiny.pth')
        tiny_config().dump(self.config)

    def predict(self, seed: int, count: int) -> None:
        """Files in a folder: a result or a line about each."""
        folder, out = self.work / f'photos-{seed}', self.work / f'out-{seed}'
        fill(folder, count, np.random.default_rng(seed))
        config = [f'--config={self.config}', f'--out={out}', '--classes', *WORDS]
        words = [str(folder), f'--batch-size={1 + seed % 3}', *self.options, *config]
        code, text, crash = run(lambda: mmseg_ovs.predict.main(words))
        if crash:
            self.faults.append(f'predict, seed {seed}: {crash}')
        legend = out / 'legend.json'
        known = json.loads(legend.read_text())['images'] if legend.is_file() else {}
        written = {
            path for name, path in known.items() if (out / f'pred/{name}.png').is_file()
        }
        failed = False
        for path in map(str, folder.iterdir()):
            is_named = Path(path).name in text
            self.results += path in written
            self.named += path not in written and is_named
            failed |= path not in written and path in known.values()
            if path not in written and not is_named and '...' not in text:
                self.faults.append(f'predict, seed {seed}: nothing about {path}')
        if failed and not code:
            self.faults.append(f'predict, seed {seed}: failures and exit code 0')

    def test(self, seed: int, count: int) -> None:
        """A data set: all results, or an error that names a file."""
        rng, root = np.random.default_rng(seed), self.work / f'data-{seed}'
        out = self.work / f'maps-{seed}'
        for number in range(count):
            for kind in ('images', 'labels'):
                (root / kind / str(number % 2)).mkdir(parents=True, exist_ok=True)
            name = f'{number % 2}/{number // 2}.png'
            size = rng.integers(8, 40, 2).tolist()
            content = encode(Image.fromarray(make_image(*size)), 'PNG')
            labels = rng.integers(0, len(WORDS), size, dtype=np.uint8)
            chance = rng.integers(0, 4 * count)
            content = random_file(rng) if chance == 0 else content
            (root / 'images' / name).write_bytes(content)
            labels = labels[:-1] if chance == 1 else labels
            labels = labels + np.uint8(90) if chance == 2 else labels
            content = cv2.imencode('.png', labels)[1].tobytes()
            content = content[: len(content) // 2] if chance == 3 else content
            (root / 'labels' / name).write_bytes(content)
        config = tiny_config()
        config.test_dataloader = dict(
            batch_size=1,
            num_workers=seed % 2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='OpenVocabSegDataset',
                data_root=str(root),
                data_prefix=dict(img_path='images', seg_map_path='labels'),
                img_suffix='.png',
                metainfo=dict(classes=WORDS, palette=[[0, 0, 0]] * len(WORDS)),
                pipeline=[
                    dict(
                        type='LoadImageFromFile',
                        backend_args=dict(backend='checked_images'),
                    ),
                    dict(type='LoadLabelMap'),
                    dict(type='PackSegInputs'),
                ],
            ),
        )
        config.test_cfg, config.log_level = dict(type='TestLoop'), 'ERROR'
        config.test_evaluator = dict(type='OpenVocabIoUMetric')
        config.default_hooks = dict(vocabulary=dict(type='VocabularyHook'))
        config.dump(self.work / 'test.py')
        words = [self.work / 'test.py', self.work / 'tiny.pth', '--out', out]
        words += ['--work-dir', self.work / 'logs']
        code, text, crash = run(lambda: run_tool('tools/test.py', *words))
        if crash:
            self.faults.append(f'test, seed {seed}: {crash}')
        found = len(list(out.rglob('*.png')))
        self.results += found
        self.named += count - found
        if not code and found < count:
            self.faults.append(f'test, seed {seed}: {found} of {count} results')
        if code and str(root) not in text:
            self.faults.append(f'test, seed {seed}: no file is named: {text[-300:]}')


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--count', type=int, default=200, help='files for each command')
    parser.add_argument('--seed', type=int, default=0, help='of the first folder')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        fuzz = Fuzz(Path(work))
        for seed in range(args.seed, args.seed + args.count // 10):
            fuzz.predict(seed, 10)
            fuzz.test(seed, 10)
            print(f'seed {seed}: {fuzz.results} results, {fuzz.named} named')
    print('\n'.join(fuzz.faults) or 'nothing lost, no crash')
    return int(bool(fuzz.faults))


if __name__ == '__main__':
    sys.exit(main())
