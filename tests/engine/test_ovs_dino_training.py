"""OVS-DINO trained from masks of nouns by the runner, and what is saved of it."""

import json

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.runner import Runner
from PIL import Image

from tests.instance_file import instance_file
from tests.tiny import HEADS
from tests.tool_loader import ROOT

NOUNS = ('cat', 'dog', 'tree')


@pytest.fixture
def config(tmp_path):
    """The tiny OVS-DINO, to be trained three steps from masks of nouns."""
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    images = []
    for i in range(4):
        image = rng.integers(0, 255, (50, 60, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f'images/{i}.png')
        masks = {noun: rng.random((50, 60)) > 0.5 for noun in NOUNS[: 1 + i % 3]}
        images.append((50, 60, masks))
    (tmp_path / 'masks.json').write_text(json.dumps(instance_file(images, NOUNS)))
    cfg = Config.fromfile(ROOT / 'configs/ovs_dino/ovs-dino_tiny_shapes-112x112.py')
    cfg.model.decode_head = dict(
        HEADS['OVS-DINO'], in_channels=96, text_channels=96, mask_size=(112, 112)
    )
    cfg.model.auxiliary_head.teacher.init_cfg = None
    data = dict(
        type='NounMasksDataset',
        data_root=str(tmp_path),
        ann_file='masks.json',
        data_prefix=dict(img_path='images'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadNounMasks'),
            dict(type='Resize', scale=(112, 112)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackNounMasks'),
        ],
    )
    cfg.train_dataloader.update(
        batch_size=2, num_workers=0, persistent_workers=False, dataset=data
    )
    for part in ('dataloader', 'cfg', 'evaluator'):
        cfg[f'val_{part}'] = cfg[f'test_{part}'] = None
    cfg.train_cfg.max_iters = cfg.default_hooks.checkpoint.interval = 3
    cfg.work_dir = str(tmp_path / 'work')
    return cfg


def test_masks_of_nouns_train_the_model_and_the_teacher_is_not_saved(config):
    runner = Runner.from_cfg(config)
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    runner.train()
    model = runner.model
    assert model.vocabulary.classes == NOUNS
    teacher = model.auxiliary_head.teacher
    assert teacher._network is not None  # it ran
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    for part in ('backbone.blocks.3', 'neck.0', 'neck.1', 'decode_head', 'text_enc'):
        assert any(key.startswith(part) for key in moved), part

    saved = torch.load(f'{config.work_dir}/iter_3.pth', weights_only=True)['state_dict']
    assert set(saved) == set(before)
    own = sum(v.numel() for v in saved.values())
    assert own == sum(v.numel() for v in model.state_dict().values())
    names = {n for n, _ in teacher.network('cpu').named_parameters()}
    assert not any(key.endswith(tuple(f'teacher.{n}' for n in names)) for key in saved)
    optimized = {id(p) for g in runner.optim_wrapper.param_groups for p in g['params']}
    assert not optimized & {id(p) for p in teacher.network('cpu').parameters()}
