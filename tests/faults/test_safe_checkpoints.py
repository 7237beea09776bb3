"""Checkpoints are whole, and old ones go when the new one is there."""

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from mmengine.runner.checkpoint import save_checkpoint
from torch import nn

from mmseg_ovs.engine.hooks.safe_checkpoint_hook import WholeFilesBackend
from mmseg_ovs.engine.resume import latest_checkpoint
from mmseg_ovs.utils import NonFiniteError


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(100_000))

    def train_step(self, data, optim_wrapper):
        loss = (self.weight - 1).square().sum()
        optim_wrapper.update_params(loss)
        return dict(loss=loss.detach())

    def val_step(self, data):
        return [self.weight.detach().mean()]


class Diverging(Model):
    """Its loss, or a weight, becomes infinite at the third step."""

    def __init__(self, what):
        super().__init__()
        self.what, self.steps = what, 0

    def train_step(self, data, optim_wrapper):
        self.steps += 1
        outputs = super().train_step(data, optim_wrapper)
        if self.steps == 3 and self.what == 'loss':
            return dict(loss=outputs['loss'], loss_ce=torch.tensor(torch.inf))
        if self.steps == 3:
            self.weight.data[7] = torch.nan
        return dict(outputs, acc=torch.tensor(torch.nan))


class Mean(BaseMetric):
    """Grows as the model learns."""

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(mIoU=float(sum(results)))


def loader(sampler):
    return dict(dataset=[0, 1], sampler=dict(type=sampler), batch_size=1, num_workers=0)


def run(folder, max_iters, model=None, custom_hooks=(), **hook):
    """Train, or go on, with a checkpoint and a validation at each step."""
    runner = Runner(
        model or Model(),
        str(folder),
        train_dataloader=loader('InfiniteSampler'),
        val_dataloader=loader('DefaultSampler'),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1),
        val_cfg=dict(),
        val_evaluator=dict(type=Mean),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(
                type='mmseg.SafeCheckpointHook', by_epoch=False, interval=1, **hook
            )
        ),
        custom_hooks=list(custom_hooks),
        visualizer=dict(type='Visualizer', vis_backends=[]),
        experiment_name=f'{folder.name}-{max_iters}',
        log_level='ERROR',
        resume=True,
    )
    runner.train()
    return runner


def checkpoints(folder):
    return sorted(path.name for path in folder.iterdir() if 'iter' in path.name)


def test_old_ones_are_removed(tmp_path):
    run(tmp_path, 4, max_keep_ckpts=2, save_best='mIoU')
    assert checkpoints(tmp_path) == ['best_mIoU_iter_4.pth', 'iter_3.pth', 'iter_4.pth']
    assert (tmp_path / 'last_checkpoint').read_text().endswith('iter_4.pth')


def test_a_run_goes_on_and_removes_what_a_killed_one_left(tmp_path):
    run(tmp_path, 2, max_keep_ckpts=1)
    (tmp_path / f'.iter_3-{"0" * 32}.tmp.pth').write_bytes(b'half')
    runner = run(tmp_path, 5, max_keep_ckpts=1)
    assert runner.iter == 5
    assert checkpoints(tmp_path) == ['iter_5.pth']


def test_a_full_disk_leaves_the_last_ones(tmp_path, small_disk):
    small_disk()
    run(tmp_path, 2, max_keep_ckpts=1, save_best='mIoU')
    before = checkpoints(tmp_path)
    assert before == ['best_mIoU_iter_2.pth', 'iter_2.pth']
    small_disk(100_000)
    with pytest.raises(OSError, match=r'iter_3\.pth cannot be written, there is no'):
        run(tmp_path, 4, max_keep_ckpts=1, save_best='mIoU')
    small_disk()
    assert checkpoints(tmp_path) == before
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'iter_2.pth')
    run(tmp_path, 4, max_keep_ckpts=1, save_best='mIoU')
    assert checkpoints(tmp_path) == ['best_mIoU_iter_4.pth', 'iter_4.pth']


def test_one_that_is_saved_again_is_not_removed(tmp_path):
    path = tmp_path / 'best.pth'
    backend = WholeFilesBackend()
    for number in (1, 2):
        content = dict(number=number)
        save_checkpoint(content, str(path), backend_args=dict(backend='whole_files'))
        if number == 1:
            backend.remove(path)
    backend.remove_outdated()
    assert torch.load(path, weights_only=True) == dict(number=2)
    backend.remove(path)
    backend.remove_outdated()
    assert not path.exists()


@pytest.mark.parametrize('ema', [False, True])
@pytest.mark.parametrize(
    ('what', 'message'),
    [
        ('loss', r'iteration 3: loss = \d+.*, loss_ce = inf.*load_from=.*iter_2\.pth'),
        ('weight', r'1 weights are NaN or infinite \((module\.)?weight\)'),
    ],
)
def test_a_training_that_diverges_stops_and_keeps_its_last_checkpoint(
    tmp_path, what, message, ema
):
    hooks = [dict(type='mmseg.CheckFiniteHook')] + ema * [dict(type='EMAHook')]
    options = dict(custom_hooks=hooks, max_keep_ckpts=1)
    with pytest.raises(NonFiniteError, match=message):
        run(tmp_path, 5, Diverging(what), **options)
    assert checkpoints(tmp_path) == ['iter_2.pth']
    assert run(tmp_path, 5, **options).iter == 5
