"""What the launcher scripts hand to torchrun and to srun."""

import argparse
import os
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_ovs.engine.launch import load_config, make_deterministic, without_strategy
from tests.tool_loader import ROOT, run_process


@pytest.fixture
def run_script(tmp_path):
    """Runs a script; ``python`` and ``srun`` write down their arguments instead."""
    for name in ('python', 'srun'):
        program = tmp_path / name
        program.write_text(
            '#!/bin/sh\nprintf "%s\\n" "$(basename "$0")" "$@"\necho "at $PYTHONPATH"\n'
        )
        program.chmod(0o755)
    path = f'{tmp_path}:{os.environ["PATH"]}'

    def run(script: str, *args: str, code: int = 0, **env: str) -> list[str]:
        env = {**dict.fromkeys(os.environ), 'PYTHONPATH': None, 'PATH': path, **env}
        done = run_process(ROOT / 'tools' / script, *args, code=code, **env)
        return (done.stdout or done.stderr).splitlines()

    return run


TORCHRUN = ['python', '-m', 'torch.distributed.run']
OPTIONS = ('--cfg-options', 'a="x y"')  # must stay one argument

CASES = [
    ('train', ['c.py'], OPTIONS),
    ('test', ['c.py', 'c.pth'], ['--tta']),
    ('test', ['c.py', ''], ['--tta']),  # without a checkpoint
]


def command(script, launcher, files, options):
    """The command line of tools/train.py or test.py; an empty argument is none."""
    program = str(ROOT / 'tools' / f'{script}.py')
    return [program, *filter(None, files), '--launcher', launcher, *options]


@pytest.mark.parametrize(('script', 'files', 'options'), CASES)
def test_dist(run_script, script, files, options):
    lines = run_script(f'dist_{script}.sh', *files, '8', *options)
    assert lines[:3] == TORCHRUN
    assert {'--nproc-per-node=8', '--nnodes=1', '--master-port=29500'} <= set(lines)
    expected = command(script, 'pytorch', files, options)
    assert lines[lines.index(expected[0]) : -1] == expected
    assert Path(lines[-1].removeprefix('at ')).resolve() == ROOT


def test_dist_train_on_several_machines(run_script):
    several = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='first', PORT='1234')
    lines = run_script('dist_train.sh', 'c.py', '8', **several)
    expected = {'--nnodes=2', '--node-rank=1', '--master-addr=first'}
    assert {*expected, '--master-port=1234'} <= set(lines)


@pytest.mark.parametrize(('script', 'files', 'options'), CASES)
def test_slurm(run_script, script, files, options):
    env = dict(GPUS='16', GPUS_PER_NODE='8', SRUN_ARGS='--time=1:00 --qos=low')
    words = ['gpu', 'job', *files, *options]
    lines = run_script(f'slurm_{script}.sh', *words, **env)
    expected = {'--job-name=job', '--gres=gpu:8', '--ntasks=16', '--ntasks-per-node=8'}
    assert {*expected, '--time=1:00', '--qos=low', '--kill-on-bad-exit=1'} <= set(lines)
    assert lines[:3] == ['srun', '-p', 'gpu']
    expected = ['python', '-u', *command(script, 'slurm', files, options)]
    assert lines[lines.index('python') : -1] == expected
    lines = run_script(f'slurm_{script}.sh', *words, GPUS='1')
    assert {'--ntasks=1', '--ntasks-per-node=1', '--gres=gpu:1'} <= set(lines)


@pytest.mark.parametrize('script', ['dist_train', 'dist_test', 'slurm_train'])
def test_usage(run_script, script):
    lines = run_script(f'{script}.sh', 'c.py', code=2)
    assert any(f'tools/{script}.sh' in line for line in lines)


def test_slurm_without_gpu_says_what_to_do(tiny_config):
    args = argparse.Namespace(
        config=str(tiny_config),
        data=None,
        cfg_options={},
        launcher='slurm',
        work_dir=None,
        local_rank=0,
    )
    with pytest.raises(SystemExit, match='slurm needs GPUs.*tools/dist_train.sh'):
        load_config(args)


@pytest.mark.parametrize('given', [{}, dict(seed=None), dict(seed=7)])
def test_deterministic_takes_the_seed_of_the_config(monkeypatch, given):
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':16:8')
    cfg = Config(dict(randomness=dict(given)))
    make_deterministic(cfg)
    seed = given.get('seed') or 0
    assert cfg.randomness == dict(seed=seed, deterministic=True)
    assert [hook['type'] for hook in cfg.custom_hooks] == ['StepSeedHook']
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':16:8'


def test_a_sharded_training_is_tested_whole():
    base = ROOT / 'configs/_base_/strategies/fsdp.py'
    cfg = Config.fromfile(base)
    without_strategy(cfg)
    assert 'strategy' not in cfg and 'runner_type' not in cfg
