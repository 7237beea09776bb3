"""From which checkpoint a training goes on."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmseg_ovs.engine.hooks import ResumeReportHook
from mmseg_ovs.engine.hooks.resume_report_hook import ResumeError
from mmseg_ovs.engine.resume import latest_checkpoint, resume_training
from mmseg_ovs.models.utils import CheckpointError


def save(path):
    torch.save(dict(state_dict=dict(w=torch.zeros(3))), path)
    return str(path)


def truncate(path, size=-1):
    content = path.read_bytes()
    path.write_bytes(content[:size])


@pytest.fixture
def folder(tmp_path):
    """Work folder of a training that has saved at 2, 4 and 10."""
    for number in (2, 4, 10):
        save(tmp_path / f'iter_{number}.pth')
    save(tmp_path / 'best_mIoU_iter_99.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_10.pth'))
    return tmp_path


def test_the_one_that_is_named(folder):
    assert latest_checkpoint(folder) == str(folder / 'iter_10.pth')
    (folder / 'last_checkpoint').write_text(f'{folder}/iter_4.pth\n')
    assert latest_checkpoint(folder) == str(folder / 'iter_4.pth')
    (folder / 'last_checkpoint').write_text('s3://bucket/iter_4.pth')
    assert latest_checkpoint(folder) == 's3://bucket/iter_4.pth'
    (folder / 'iter_12.pth').mkdir()  # sharded
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_12.pth'))
    assert latest_checkpoint(folder) == str(folder / 'iter_12.pth')


def test_a_folder_that_was_moved(folder):
    (folder / 'last_checkpoint').write_text('/somewhere/else/iter_10.pth')
    assert latest_checkpoint(folder) == str(folder / 'iter_10.pth')


def test_nothing_there(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / 'none') is None


@pytest.mark.parametrize('text', ['', None])
def test_killed_before_it_was_named(folder, text):
    if text is None:
        (folder / 'last_checkpoint').unlink()
    else:
        (folder / 'last_checkpoint').write_text(text)
    assert latest_checkpoint(folder) == str(folder / 'iter_10.pth')
    truncate(folder / 'iter_10.pth')
    assert latest_checkpoint(folder) == str(folder / 'iter_4.pth')


@pytest.mark.parametrize('size', [0, 1, 100, -1])
def test_a_truncated_one_is_refused_and_the_last_whole_one_named(folder, size):
    truncate(folder / 'iter_10.pth', size)
    with pytest.raises(CheckpointError, match=r'iter_10\.pth.*truncated.*iter_4\.pth'):
        latest_checkpoint(folder)
    (folder / 'iter_10.pth').unlink()
    with pytest.raises(CheckpointError, match=r'iter_10\.pth.*missing.*iter_4\.pth'):
        latest_checkpoint(folder)
    for number in (2, 4):
        truncate(folder / f'iter_{number}.pth')
    with pytest.raises(CheckpointError, match='no other checkpoint'):
        latest_checkpoint(folder)


def test_the_work_folder_comes_before_the_weights_that_it_began_with(folder):
    cfg = Config(dict(work_dir=str(folder), load_from='start.pth'))
    resume_training(cfg)
    assert cfg.resume and cfg.load_from == str(folder / 'iter_10.pth')
    resume_training(cfg, dict(load_from='chosen.pth'))
    assert cfg.resume and cfg.load_from == 'chosen.pth'


def test_the_first_start_is_no_resumption(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path), load_from='start.pth'))
    resume_training(cfg)
    assert not cfg.resume and cfg.load_from == 'start.pth'


OLD = """
optim_wrapper = dict(optimizer=dict(lr=0.01, type='SGD'), type='OptimWrapper')
param_scheduler = [dict(begin=0, end=20, type='PolyLR')]
train_cfg = dict(max_iters=20)
gone = [1, 2]
work_dir = 'a'
__import__('os').system('exit 3')
"""
NEW = """
optim_wrapper = dict(optimizer=dict(lr=0.001, type='SGD'), type='OptimWrapper')
param_scheduler = [
    {'begin': 0, 'end': 40, 'type': 'PolyLR'},
    dict(end=9, type='LinearLR'),
]
train_cfg = dict(max_iters=40)
work_dir = 'b'
"""


def report(text, resume=True):
    lines = []
    runner = SimpleNamespace(
        _resume=resume,
        cfg=SimpleNamespace(pretty_text=NEW),
        logger=SimpleNamespace(warning=lines.append),
    )
    meta = {} if text is None else dict(cfg=text)
    ResumeReportHook().after_load_checkpoint(runner, dict(meta=meta))
    return lines


def test_settings_that_the_checkpoint_overrides_are_told():
    overridden, changed = report(OLD)
    assert overridden.splitlines()[1:3] == [
        '  optim_wrapper.optimizer.lr: 0.01 in the checkpoint, 0.001 in the config',
        '  param_scheduler.0.end: 20 in the checkpoint, 40 in the config',
    ]
    assert 'load_from=CHECKPOINT' in overridden.splitlines()[3]
    assert changed.splitlines()[1:] == [
        '  train_cfg.max_iters: 20 -> 40',
        '  gone.0: 1 -> not set',
        '  gone.1: 2 -> not set',
        '  param_scheduler.1.end: not set -> 9',
        "  param_scheduler.1.type: not set -> 'LinearLR'",
    ]


def test_nothing_is_told_where_nothing_changed():
    assert report(NEW) == report(None) == report(OLD, resume=False) == []


@pytest.mark.parametrize('kind', ['SGD', 'PolyLR'])
def test_a_state_is_not_put_into_another_class(kind):
    with pytest.raises(ResumeError, match=rf"\.type from 'Other' to '{kind}'"):
        report(OLD.replace(kind, 'Other'))
