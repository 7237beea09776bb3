"""``tools/train.py`` and ``tools/test.py``: mmseg's command line, and what we added."""

import json
import os
import shutil
import socket
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from tests.engine.processes import run_processes
from tests.tool_loader import ROOT, run_process, run_tool


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    """A run may write to the current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope='module')
def trained(write_stock_config, tmp_path_factory) -> tuple[Path, Path]:
    """The config, and the checkpoint of two iterations: not to be changed."""
    config = write_stock_config(tmp_path_factory.mktemp('trained'))
    return config, train(config)


def train(config: Path, *args) -> Path:
    """Train two iterations; returns the checkpoint."""
    work_dir = config.parent / 'work'
    run_tool('tools/train.py', config, '--work-dir', work_dir, *args)
    return work_dir / 'iter_2.pth'


def scores(work_dir: Path) -> dict:
    (path,) = set(work_dir.glob('*/*.json')) - set(work_dir.glob('*/protocol.json'))
    return json.loads(path.read_text())


def read_labels(folder: Path) -> list[np.ndarray]:
    paths = list(folder.glob('*.png'))
    assert len(paths) == 4
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]


def test_train_then_resume_goes_on_from_the_checkpoint(trained, stock_config):
    _, checkpoint = trained
    assert torch.load(checkpoint, weights_only=True)['meta']['iter'] == 2
    work_dir = stock_config.parent / 'work'
    shutil.copytree(checkpoint.parent, work_dir)
    train(stock_config, '--resume', '--cfg-options', 'train_cfg.max_iters=4')
    later = torch.load(work_dir / 'iter_4.pth', weights_only=True)
    assert later['meta']['iter'] == 4
    logs = [path.read_text() for path in work_dir.glob('*/*.log')]
    assert any('resumed epoch: 0, iter: 2' in log for log in logs)


def test_show_dir_paints_every_image_and_out_writes_label_maps(trained, tmp_path):
    config, checkpoint = trained
    folders = ('--work-dir', 'test', '--show-dir', 'shown', '--out', 'out')
    run_tool('tools/test.py', config, checkpoint, *folders, '--onednn')
    assert len(list(tmp_path.glob('shown/vis_data/vis_image/*.png'))) == 4
    labels = read_labels(tmp_path / 'out')
    assert all(label.shape == (32, 32) for label in labels)
    assert set(np.unique(labels)) <= {0, 1}
    mean = scores(tmp_path / 'test')['mIoU']
    assert 0 <= mean <= 100

    (path,) = tmp_path.glob('test/*/protocol.json')  # beside the figures
    written = json.loads(path.read_text())
    assert written['metrics']['mIoU'] == pytest.approx(mean)
    assert written['protocol']['weights'].endswith(', iter_2.pth')
    seed = torch.load(checkpoint, weights_only=True)['meta']['seed']
    assert written['protocol']['training seed'] == str(seed)
    assert written['protocol']['vocabulary'] == 'fixed, 2 classes'
    assert written['protocol']['acceleration'] == 'onednn'
    assert 'SHA-256' in next(tmp_path.glob('test/*/*.log')).read_text()


def test_show_dir_keeps_the_interval_of_the_config(trained, tmp_path):
    hook = 'default_hooks.visualization'
    options = (f'{hook}.type=SegVisualizationHook', f'{hook}.interval=2')
    run_tool(
        'tools/test.py', *trained, '--show-dir', 'shown', '--cfg-options', *options
    )
    assert len(list(tmp_path.glob('shown/vis_data/vis_image/*.png'))) == 2


# The data set has two classes. With 200 in the head, random weights practically never
# answer 137 everywhere, so that answer shows which weights were used.
MANY = ('--cfg-options', 'model.decode_head.num_classes=200')
RARE = 137


@pytest.fixture
def always_rare(trained, tmp_path) -> Path:
    """A checkpoint whose model predicts one of 200 classes everywhere."""
    content = torch.load(trained[1], weights_only=True)
    bias = torch.zeros(200)
    bias[RARE] = 9.0
    head = dict(weight=torch.zeros(200, 8, 1, 1), bias=bias)
    head = {f'decode_head.conv_seg.{key}': value for key, value in head.items()}
    content['state_dict'].update(head)
    torch.save(content, tmp_path / 'rare.pth')
    return tmp_path / 'rare.pth'


def test_tta_tests_the_weights_of_the_checkpoint(trained, always_rare, tmp_path):
    options = ('--tta', '--out', 'out', *MANY)
    run_tool('tools/test.py', trained[0], always_rare, *options)
    assert set(np.unique(read_labels(tmp_path / 'out'))) == {RARE}


def test_without_checkpoint_parts_load_their_own_weights(
    stock_config, always_rare, tmp_path
):
    config = Config.fromfile(stock_config)
    config.model.decode_head.init_cfg = dict(
        type='Pretrained', checkpoint=str(always_rare), prefix='decode_head.'
    )
    config.dump('own_weights.py')
    command = ('tools/test.py', tmp_path / 'own_weights.py', '--out', 'out', *MANY)
    with pytest.raises(SystemExit, match='no weights for backbone. Give'):
        run_tool(*command)
    run_tool(*command, '--allow-random')
    assert set(np.unique(read_labels(tmp_path / 'out'))) == {RARE}


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda path: path.unlink(), 'No checkpoint at'),
        (lambda path: os.truncate(path, 2000), 'truncated'),
        (
            lambda path: torch.save({'state_dict': {'other': torch.ones(1)}}, path),
            'does not fit the model(.|\n)*missing: backbone',
        ),
    ],
    ids=['missing', 'truncated', 'other architecture'],
)
def test_checkpoint_that_does_not_fit_is_refused(trained, tmp_path, spoil, message):
    config, checkpoint = trained
    checkpoint = Path(shutil.copy(checkpoint, tmp_path))
    spoil(checkpoint)
    with pytest.raises(SystemExit, match=message):
        run_tool('tools/test.py', config, checkpoint)


@pytest.mark.skipif(torch.cuda.is_available(), reason='is about machines without GPU')
def test_amp_without_gpu_says_what_to_do(stock_config):
    with pytest.raises(SystemExit, match='needs a GPU.*without --amp'):
        run_tool('tools/train.py', stock_config, '--amp')


def test_tta_without_its_config_flips(trained, tmp_path):
    config, checkpoint = trained
    plain = config.with_name('plain.py')
    plain.write_text(config.read_text().replace('tta_', 'unused_'))
    run_tool('tools/test.py', plain, checkpoint, '--tta', '--out', 'out')
    assert len(read_labels(tmp_path / 'out')) == 4


@pytest.mark.slow
def test_two_cpu_processes_train_and_test(stock_config):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    work_dir = stock_config.parent / 'ddp'
    command = [ROOT / 'tools/dist_train.sh', stock_config, 2, '--work-dir', work_dir]
    run_process(*command, cwd=stock_config.parent, PATH=path, PORT=str(port))
    checkpoint = torch.load(work_dir / 'iter_2.pth', weights_only=True)
    assert not any(key.startswith('module.') for key in checkpoint['state_dict'])

    options = ('--work-dir', work_dir / 'test', '--launcher', 'pytorch')
    command = ('tools/test.py', stock_config, work_dir / 'iter_2.pth', *options)
    run_processes(2, run_tool, *command)
    # Four images over two processes: two steps each.
    (log,) = work_dir.glob('test/*/*.log')
    assert 'Iter(test) [2/2]' in log.read_text()
