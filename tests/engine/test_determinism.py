"""``--deterministic``: equal weights, bit by bit, of two runs and of a resumed one."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from processes import run_processes

from tests.tool_loader import run_tool

# Everything random that a model and a pipeline do.
RANDOM = """
_base_ = 'tiny.py'
data = dict(
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadLabelMap', num_classes=4),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackSegInputs'),
    ],
)
train_dataloader = dict(num_workers=1, persistent_workers=True, dataset=data)
optim_wrapper = dict(_delete_=True, optimizer=dict(type='AdamW', lr=1e-3))
model = dict(
    backbone=dict(drop_path_rate=0.5), decode_head=dict(num_points=16)
)
"""


@pytest.fixture(scope='module')
def random_config(tiny_config):
    path = tiny_config.parent / 'random.py'
    path.write_text(RANDOM)
    return path


def train_deterministic(config: Path, work_dir: Path, *args: str) -> tuple[dict, bool]:
    """Weights that ``tools/train.py`` has saved, and whether torch was told."""
    options = ['--deterministic', '--work-dir', str(work_dir), *args]
    run_tool('tools/train.py', config, *options)
    checkpoint = torch.load(work_dir / 'iter_4.pth', weights_only=True)
    assert checkpoint['meta']['seed'] == 5
    return checkpoint['state_dict'], torch.are_deterministic_algorithms_enabled()


@pytest.fixture(scope='module')
def first(random_config):
    folder = random_config.parent / 'first'
    return run_processes(1, train_deterministic, random_config, folder)[0]


def equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_two_runs_are_bit_equal(random_config, first):
    folder = random_config.parent / 'second'
    (second,) = run_processes(1, train_deterministic, random_config, folder)
    assert equal(first[0], second[0])
    assert first[1] and second[1]


def test_resumed_run_is_bit_equal(random_config, first):
    folder = random_config.parent / 'resumed_in_the_middle'
    folder.mkdir()
    shutil.copy(random_config.parent / 'first' / 'iter_2.pth', folder)
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_2.pth'))
    options = ('--resume', '--cfg-options', 'load_from=None')
    run = partial(train_deterministic, random_config, folder, *options)
    (resumed,) = run_processes(1, run)
    assert equal(first[0], resumed[0])
