"""OVS-DINO trained from masks of nouns by the runner, and what is saved of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image

from mmseg_ovs.utils.rle import encode_mask

ROOT = Path(__file__).parents[2]
NOUNS = ('cat', 'dog', 'tree')

CONFIG = """
_base_ = '{root}/configs/ovs_dino/ovs-dino_tiny_shapes-112x112.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='OVSDINOHead',
        in_channels=96,
        text_channels=96,
        in_index=-1,
        mask_size=(112, 112),
        activation='sigmoid',
    ),
    auxiliary_head=dict(teacher=dict(init_cfg=None)),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type='NounMasksDataset',
        data_root='{data}',
        ann_file='masks.json',
        data_prefix=dict(img_path='images'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadNounMasks'),
            dict(type='Resize', scale=(112, 112)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackNounMasks'),
        ],
    ),
)
val_dataloader = None
val_cfg = None
val_evaluator = None
test_dataloader = None
test_cfg = None
test_evaluator = None
max_iters = 3
train_cfg = dict(max_iters=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
work_dir = '{data}/work'
"""


@pytest.fixture
def config(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    images, annotations = [], []
    for i in range(4):
        image = rng.integers(0, 255, (50, 60, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f'images/{i}.png')
        images.append(dict(id=i, file_name=f'{i}.png', height=50, width=60))
        for noun in range(1 + i % 3):
            counts = encode_mask(rng.random((50, 60)) > 0.5)
            annotations.append(
                dict(
                    id=len(annotations),
                    image_id=i,
                    category_id=noun,
                    segmentation=dict(size=[50, 60], counts=counts),
                )
            )
    content = dict(
        images=images,
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in enumerate(NOUNS)],
    )
    (tmp_path / 'masks.json').write_text(json.dumps(content))
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.format(root=ROOT, data=tmp_path))
    return path


def test_masks_of_nouns_train_the_model_and_the_teacher_is_not_saved(config):
    init_default_scope('mmseg')
    runner = Runner.from_cfg(Config.fromfile(config))
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    runner.train()
    model = runner.model
    assert model.vocabulary.classes == NOUNS
    teacher = model.auxiliary_head.teacher
    assert teacher._network is not None  # it ran
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    for part in ('backbone.blocks.3', 'neck.0', 'neck.1', 'decode_head', 'text_enc'):
        assert any(key.startswith(part) for key in moved), part

    path = config.parent / 'work' / 'iter_3.pth'
    saved = torch.load(path, weights_only=True)['state_dict']
    assert set(saved) == set(before)
    own = sum(v.numel() for v in saved.values())
    assert own == sum(v.numel() for v in model.state_dict().values())
    names = {n for n, _ in teacher.network('cpu').named_parameters()}
    assert not any(key.endswith(tuple(f'teacher.{n}' for n in names)) for key in saved)
    optimized = {id(p) for g in runner.optim_wrapper.param_groups for p in g['params']}
    assert not optimized & {id(p) for p in teacher.network('cpu').parameters()}
