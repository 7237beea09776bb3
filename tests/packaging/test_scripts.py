"""``tools/train.py`` and ``tools/test.py``: mmseg's command line, and what we added."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from tests.tool_loader import ROOT, run_process, run_tool


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    """A run may write to the current folder."""
    monkeypatch.chdir(tmp_path)


def train(config: Path, *args) -> Path:
    """Train two iterations; returns the checkpoint."""
    work_dir = config.parent / 'work'
    run_tool('tools/train.py', config, '--work-dir', work_dir, *args)
    return work_dir / 'iter_2.pth'


def scores(work_dir: Path) -> dict:
    (path,) = set(work_dir.glob('*/*.json')) - set(work_dir.glob('*/protocol.json'))
    return json.loads(path.read_text())


def test_train_then_resume_goes_on_from_the_checkpoint(stock_config):
    first = torch.load(train(stock_config), weights_only=True)
    assert first['meta']['iter'] == 2
    work_dir = stock_config.parent / 'work'
    train(stock_config, '--resume', '--cfg-options', 'train_cfg.max_iters=4')
    later = torch.load(work_dir / 'iter_4.pth', weights_only=True)
    assert later['meta']['iter'] == 4
    assert any(
        'resumed epoch: 0, iter: 2' in p.read_text() for p in work_dir.glob('*/*.log')
    )


def test_show_dir_paints_every_image_and_out_writes_label_maps(stock_config):
    checkpoint = train(stock_config)
    folder = stock_config.parent
    run_tool(
        'tools/test.py',
        stock_config,
        checkpoint,
        '--work-dir',
        folder / 'test',
        '--show-dir',
        folder / 'shown',
        '--out',
        folder / 'out',
        '--onednn',
    )
    assert len(list((folder / 'shown' / 'vis_data' / 'vis_image').glob('*.png'))) == 4
    labels = [
        cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for p in folder.glob('out/*.png')
    ]
    assert len(labels) == 4
    assert all(label.shape == (32, 32) for label in labels)
    assert set(np.unique(labels)) <= {0, 1}
    mean = scores(folder / 'test')['mIoU']
    assert 0 <= mean <= 100

    (path,) = (folder / 'test').glob('*/protocol.json')  # beside the figures
    written = json.loads(path.read_text())
    assert written['metrics']['mIoU'] == pytest.approx(mean)
    assert written['protocol']['weights'].endswith(', iter_2.pth')
    seed = torch.load(checkpoint, weights_only=True)['meta']['seed']
    assert written['protocol']['training seed'] == str(seed)
    assert written['protocol']['vocabulary'] == 'fixed, 2 classes'
    assert written['protocol']['acceleration'] == 'onednn'
    assert 'SHA-256' in next((folder / 'test').glob('*/*.log')).read_text()


def test_show_dir_keeps_the_interval_of_the_config(stock_config):
    checkpoint = train(stock_config)
    folder = stock_config.parent
    run_tool(
        'tools/test.py',
        stock_config,
        checkpoint,
        '--show-dir',
        folder / 'shown',
        '--cfg-options',
        'default_hooks.visualization.type=SegVisualizationHook',
        'default_hooks.visualization.interval=2',
    )
    assert len(list((folder / 'shown' / 'vis_data' / 'vis_image').glob('*.png'))) == 2


# The data set has two classes. With 200 in the head, random weights practically never
# answer 137 everywhere, so that answer shows which weights were used.
MANY = ('--cfg-options', 'model.decode_head.num_classes=200', 'randomness.seed=0')
RARE = 137


def answer_always_rare(checkpoint: Path) -> None:
    """Change the weights so that the model predicts one class everywhere."""
    content = torch.load(checkpoint, weights_only=True)
    content['state_dict']['decode_head.conv_seg.weight'].zero_()
    bias = content['state_dict']['decode_head.conv_seg.bias']
    bias.zero_()[RARE] = 9.0
    torch.save(content, checkpoint)


def predicted_labels(folder: Path) -> set[int]:
    paths = list(folder.glob('*.png'))
    assert len(paths) == 4
    return {int(v) for p in paths for v in np.unique(cv2.imread(str(p), 0))}


def test_tta_tests_the_weights_of_the_checkpoint(stock_config):
    checkpoint = train(stock_config, *MANY)
    answer_always_rare(checkpoint)
    out = stock_config.parent / 'out'
    run_tool('tools/test.py', stock_config, checkpoint, '--tta', '--out', out, *MANY)
    assert predicted_labels(out) == {RARE}


def test_without_checkpoint_parts_load_their_own_weights(stock_config):
    checkpoint = train(stock_config, *MANY)
    answer_always_rare(checkpoint)
    config = Config.fromfile(stock_config)
    config.model.decode_head.init_cfg = dict(
        type='Pretrained', checkpoint=str(checkpoint), prefix='decode_head.'
    )
    own = stock_config.parent / 'own_weights.py'
    config.dump(own)
    out = stock_config.parent / 'out'
    run_tool('tools/test.py', own, '--out', out, *MANY)
    assert predicted_labels(out) == {RARE}


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
def test_checkpoint_that_does_not_fit_is_refused(stock_config, spoil, message):
    checkpoint = train(stock_config)
    spoil(checkpoint)
    with pytest.raises(SystemExit, match=message):
        run_tool('tools/test.py', stock_config, checkpoint)


@pytest.mark.skipif(torch.cuda.is_available(), reason='is about machines without GPU')
def test_amp_without_gpu_says_what_to_do(stock_config):
    with pytest.raises(SystemExit, match='needs a GPU.*without --amp'):
        run_tool('tools/train.py', stock_config, '--amp')


def test_tta_without_its_config_names_what_is_missing(stock_config):
    text = stock_config.read_text().replace('tta_pipeline', 'unused_pipeline')
    stock_config.write_text(text)
    with pytest.raises(SystemExit, match='needs tta_pipeline in the config'):
        run_tool('tools/test.py', stock_config, '--tta')


@pytest.mark.slow
def test_two_cpu_processes_train_and_test(stock_config):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    work_dir = stock_config.parent / 'ddp'

    def launch(script: str, *args) -> str:
        command = [ROOT / 'tools' / script, *args, '--work-dir', work_dir]
        done = run_process(*command, cwd=stock_config.parent, PATH=path, PORT=str(port))
        return done.stdout + done.stderr

    launch('dist_train.sh', stock_config, '2')
    checkpoint = torch.load(work_dir / 'iter_2.pth', weights_only=True)
    assert not any(key.startswith('module.') for key in checkpoint['state_dict'])
    output = launch('dist_test.sh', stock_config, work_dir / 'iter_2.pth', '2')
    # Four images over two processes: two steps each.
    assert 'Iter(test) [2/2]' in output
