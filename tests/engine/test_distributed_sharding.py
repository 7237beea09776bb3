"""FSDP of two gloo processes: what is a unit, and training as one process does."""

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from processes import run_processes
from tiny_run import largest_difference, make_runner
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP

from mmseg_ovs.engine.sharding import (
    OpenVocabFSDPStrategy,
    transformer_blocks,
    whole_state_dict,
)
from mmseg_ovs.models.utils import load_model_checkpoint
from tests.tiny import BACKBONES, TEXT_ENCODERS
from tests.tool_loader import ROOT


def train_sharded(config: Path, work_dir: Path, **options) -> tuple[dict, list[str]]:
    """Weights, and names of the modules that are units."""
    runner = make_runner(config, work_dir, 'pytorch', options)
    runner.train()
    units = [
        name.replace('_fsdp_wrapped_module.', '')
        for name, module in runner.model.named_modules()
        if isinstance(module, FSDP)
    ]
    return whole_state_dict(runner.model), units


@pytest.fixture(scope='module')
def sharded_config(tiny_config):
    path = tiny_config.parent / 'tiny_fsdp.py'
    fsdp = ROOT / 'configs/_base_/strategies/fsdp.py'
    path.write_text(
        f'_base_ = [{str(tiny_config)!r}, {str(fsdp)!r}]\n'
        'train_dataloader = dict(batch_size=2)\n'
    )
    return path


@pytest.fixture(scope='module')
def sharded(sharded_config):
    folder = sharded_config.parent / 'sharded'
    return run_processes(2, train_sharded, sharded_config, folder)


def test_weights_after_four_steps_are_those_of_one_process(alone, sharded):
    """The norm of the gradients, by which they are clipped, is that of all shards."""
    (first, _), (second, _) = sharded
    assert all(torch.equal(first[key], second[key]) for key in first)
    difference = largest_difference(alone, first)
    print(f'largest difference of weights: {difference:.1e}')
    assert difference < 2e-6


def test_units_are_the_blocks_of_trunk_and_text_tower(sharded):
    _, units = sharded[0]
    assert units == [
        '',
        'backbone.blocks.0',
        'backbone.blocks.1',
        'text_encoder.tower.clip.transformer.resblocks.0',
        'text_encoder.tower.clip.transformer.resblocks.1',
    ]


def test_checkpoint_is_whole_and_tests_without_fsdp(sharded, sharded_config, alone):
    path = sharded_config.parent / 'sharded' / 'iter_4.pth'
    cfg = Config.fromfile(sharded_config).model
    model = MODELS.build(cfg)
    meta = load_model_checkpoint(model, path)
    assert meta['seed'] == 5
    assert largest_difference(model.state_dict(), sharded[0][0]) == 0


def test_training_goes_on_from_a_checkpoint(sharded, sharded_config):
    folder = sharded_config.parent / 'resumed'
    folder.mkdir()
    shutil.copy(sharded_config.parent / 'sharded' / 'iter_2.pth', folder)
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_2.pth'))
    resumed = run_processes(2, _resume, sharded_config, folder)
    assert largest_difference(resumed[0][0], sharded[0][0]) == 0


def test_frozen_text_is_encoded_once_and_stays_whole(sharded_config):
    """With a cache, whose key is made from the weights in the middle of a step."""
    folder = sharded_config.parent / 'frozen_text'
    options = {
        'model.text_encoder.trainable': False,
        'model.text_encoder.cache_dir': str(folder),
        'train_cfg.max_iters': 2,
        'val_dataloader': Config.fromfile(sharded_config).test_dataloader,
        'val_evaluator': dict(type='OpenVocabIoUMetric', iou_metrics=['mIoU']),
        'val_cfg': dict(type='ValLoop'),
    }
    run = partial(train_sharded, **options)
    (state, units), _ = run_processes(2, run, sharded_config, folder)
    assert units == ['', 'backbone.blocks.0', 'backbone.blocks.1']
    start = torch.load(sharded_config.parent / 'start.pth', weights_only=True)
    moved = {key.split('.')[0] for key in start if not state[key].equal(start[key])}
    assert moved == {'backbone', 'decode_head'}
    assert len(list(folder.glob('text-*.safetensors'))) == 1


def _resume(config, folder):
    return train_sharded(config, folder, resume=True, load_from=None)


@pytest.mark.parametrize(
    ('cfg', 'blocks'),
    [
        *((BACKBONES[kind], 'blocks') for kind in ('SAM', 'DINOv2', 'DINOv3')),
        (TEXT_ENCODERS['open_clip'], 'tower.clip.transformer.resblocks'),
    ],
    ids=['SAM', 'DINOv2', 'DINOv3', 'CLIP'],
)
def test_policy_names_the_blocks(cfg, blocks):
    model = MODELS.build(cfg)
    names = [name for name, m in model.named_modules() if transformer_blocks(m, False)]
    assert names == [f'{blocks}.0', f'{blocks}.1']
    assert transformer_blocks(model, recurse=True) == (blocks == 'blocks')  # frozen


def wrap(model: torch.nn.Module, work_dir: Path) -> None:
    env = dict(launcher='none')
    OpenVocabFSDPStrategy(work_dir=str(work_dir), env_kwargs=env)._wrap_model(model)


def hooked_gradients(work_dir: Path) -> str:
    torch.distributed.init_process_group('gloo')
    model = torch.nn.Linear(2, 2)
    model.weight.register_hook(lambda gradient: 2 * gradient)
    with pytest.raises(RuntimeError, match='and weight has one.*query_value'):
        wrap(model, work_dir)
    return 'refused'


def test_gradient_hooks_which_fsdp_would_leave_out_are_refused(tmp_path):
    assert run_processes(2, hooked_gradients, tmp_path) == ['refused'] * 2


def test_without_processes_it_says_how_to_start(tmp_path):
    with pytest.raises(RuntimeError, match='tools/dist_train.sh'):
        wrap(torch.nn.Linear(2, 2), tmp_path)
