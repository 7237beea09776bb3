"""What ``tools/train.py`` and ``tools/test.py`` share: arguments, config, processes."""

from __future__ import annotations

import argparse
import atexit
import datetime
import os
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.device import get_device

from mmseg_ovs.composition import add_config_arguments, read_config, require_data
from mmseg_ovs.composition.compose import is_transform
from mmseg_ovs.composition.data_files import innermost_datasets
from mmseg_ovs.datasets.image_backend import read_checked_images
from mmseg_ovs.utils import OutputFolder

# Devices that mmengine's AmpOptimWrapper accepts.
_AMP_DEVICES = ('cuda', 'npu', 'mlu', 'musa')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that mmseg's train and test scripts have in common."""
    add_config_arguments(parser)
    parser.add_argument(
        '--work-dir', action=OutputFolder, help='folder for logs and checkpoints'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='launcher of the processes; without GPUs "pytorch" uses gloo',
    )
    # torch.distributed.launch passes --local-rank; older ones --local_rank.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace, train: bool = False) -> Config:
    """Read the config named by the arguments and apply the common ones.

    The work folder is the one of the command line, else of the config, else
    ``work_dirs/<model>_<data set>``.

    Raises:
        SystemExit: The arguments are wrong, or data are not there.
    """
    cfg = read_config(args, train)
    require_data(cfg, 'train' if train else 'test')
    if train and cfg.get('val_dataloader'):
        require_data(cfg, 'val')
    _check_images(cfg)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename).stem)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.launcher != 'none' and get_device() == 'cpu':
        if args.launcher != 'pytorch':
            raise SystemExit(
                f'--launcher {args.launcher} needs GPUs, and this machine offers none. '
                'On CPUs take torchrun (tools/dist_train.sh), which uses gloo.'
            )
        _distribute_on_cpu(cfg)
    return cfg


def _check_images(cfg: Config) -> None:
    """Let loaders without a file backend read images as ``predict`` does.

    OpenCV alone reads 12 bits in a 16-bit file as nearly black.
    """
    loaders = [cfg.get(f'{part}_dataloader') for part in ('train', 'val', 'test')]
    pipelines = [
        dataset.get('pipeline', ())
        for loader in loaders
        if loader and loader.get('dataset')
        for dataset in innermost_datasets(loader.dataset)
    ]
    steps = chain(*pipelines, cfg.get('tta_pipeline') or ())
    loaders = [step for step in steps if is_transform(step, LoadImageFromFile)]
    if any([read_checked_images(loader) for loader in loaders]):
        print(
            "LoadImageFromFile: backend_args=dict(backend='checked_images'), since the "
            'config names none',
            file=sys.stderr,
        )


def _distribute_on_cpu(cfg: Config) -> None:
    """Join the process group with gloo and wrap the model without device ids.

    mmengine's own initialisation calls ``torch.cuda.set_device``; it is skipped where
    a process group exists already.
    """
    timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
    torch.distributed.init_process_group(
        'gloo', timeout=timeout and datetime.timedelta(seconds=timeout)
    )
    # Left to the end of the process, gloo's threads sometimes abort it.
    atexit.register(_leave_process_group)
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    cfg.model_wrapper_cfg.setdefault('device_ids', None)


def _leave_process_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def make_deterministic(cfg: Config) -> None:
    """Let two runs on one machine be bit-equal, a resumed one too.

    Takes the seed of the config, 0 if there is none. Where a GPU has no deterministic
    kernel torch raises an error that names the operation.
    """
    randomness = {**cfg.get('randomness', {}), 'deterministic': True}
    if randomness.get('seed') is None:
        randomness['seed'] = 0
    cfg.randomness = randomness
    # cuBLAS reads it when the first handle is made.
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    add_hook(cfg, 'StepSeedHook')


def without_strategy(cfg: Config) -> None:
    """Test with a whole model in each process, however the config trains it."""
    cfg.pop('strategy', None)
    if cfg.get('runner_type') == 'FlexibleRunner':
        cfg.pop('runner_type')


def enable_amp(cfg: Config) -> None:
    """Switch the optimizer wrapper to mixed precision, as mmseg's ``--amp``.

    Raises:
        SystemExit: There is no device for it, or the config has another wrapper.
    """
    device = get_device()
    if device not in _AMP_DEVICES:
        raise SystemExit(
            f'--amp needs a GPU, and this machine offers only {device!r} (is '
            'CUDA_VISIBLE_DEVICES empty?). Run the same command without --amp.'
        )
    wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if wrapper == 'OptimWrapper':
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    elif wrapper != 'AmpOptimWrapper':
        raise SystemExit(
            '--amp replaces the optimizer wrapper OptimWrapper, but the config has '
            f'{wrapper}. Set mixed precision in the config instead.'
        )


def add_hook(cfg: Config, kind: str, **arguments: Any) -> None:
    """Add a hook of a type to a config that lacks it, and set its arguments."""
    hooks = [*cfg.get('default_hooks', {}).values(), *cfg.get('custom_hooks', [])]
    for hook in hooks:
        if hook and hook['type'] == kind:
            hook.update(arguments)
            return
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type=kind, **arguments)]
