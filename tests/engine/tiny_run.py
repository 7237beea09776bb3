"""A tiny model, images and a config, to be trained by the scripts' own functions."""

import argparse
import copy
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

from mmseg_ovs.engine.launch import load_config
from mmseg_ovs.engine.quiet_runner import build_runner
from mmseg_ovs.engine.sharding import whole_state_dict
from tests.tiny import BACKBONES, HEADS, PIXELS, TEXT_ENCODERS
from tests.tool_loader import ROOT

MODEL = dict(
    type='OpenVocabSegmentor',
    data_preprocessor=dict(PIXELS, size=(32, 32)),
    backbone=dict(BACKBONES['DINOv3'], num_registers=0, layer_scale=None),
    text_encoder=dict(TEXT_ENCODERS['open_clip'], templates='identity', trainable=True),
    decode_head=dict(
        HEADS['text similarity'],
        logit_scale=5.0,
        loss_classes='labelled',
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
    test_cfg=dict(mode='whole'),
)


def make_config(folder: Path) -> Config:
    """Four steps with batches of four, of which halves are labelled otherwise."""
    data = dict(
        type='BaseSegDataset',
        data_root=str(folder),
        metainfo=dict(classes=('sky', 'road', 'red car', 'tree')),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadLabelMap', num_classes=4),
            dict(type='PackSegInputs'),
        ],
    )
    text_rate = dict(text_encoder=dict(lr_mult=0.1))
    cfg = dict(
        model=MODEL,
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='InfiniteSampler', shuffle=True),
            dataset=data,
        ),
        test_dataloader=dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(data, indices=5),
        ),
        test_evaluator=[
            dict(type='OpenVocabIoUMetric', iou_metrics=['mIoU']),
            dict(type='BoundaryIoUMetric'),
        ],
        test_cfg=dict(type='TestLoop'),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=4),
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=1e-4),
            paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=text_rate),
            clip_grad=dict(max_norm=0.5),
        ),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.5, by_epoch=False, end=3)
        ],
        randomness=dict(seed=5),
        log_level='ERROR',
        visualizer=dict(vis_backends=[]),
    )
    base = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    base.merge_from_dict({**copy.deepcopy(cfg), 'default_hooks.checkpoint.interval': 2})
    return base


def write_config(folder: Path) -> Path:
    """Write ten images, their labels and the config into an empty folder."""
    rng = np.random.default_rng(0)
    for sub in ('images', 'labels'):
        (folder / sub).mkdir()
    for i in range(10):
        label = rng.choice(4, (4, 4), p=np.roll([0.7, 0.2, 0.1, 0.0], i))
        label = np.kron(label, np.ones((8, 8))).astype(np.uint8)
        noise = rng.integers(0, 60, (32, 32, 3))
        image = noise + 45 * label[..., None] * np.array([1, i % 2, 0.5])
        label[: 3 * i] = 255
        cv2.imwrite(str(folder / f'images/{i}.jpg'), image.astype(np.uint8))
        cv2.imwrite(str(folder / f'labels/{i}.png'), label)
    make_config(folder).dump(folder / 'tiny.py')
    return folder / 'tiny.py'


def make_runner(config: Path, work_dir: Path, launcher: str, options: dict):
    """A runner as the scripts make it."""
    paths = dict(config=str(config), data=None, work_dir=str(work_dir))
    run = dict(cfg_options={}, launcher=launcher, local_rank=0)
    cfg = load_config(argparse.Namespace(**paths, **run))
    cfg.merge_from_dict(options)
    return build_runner(cfg)


def train(config: Path, work_dir: Path, launcher: str = 'none', **options) -> dict:
    """Train; returns the weights."""
    runner = make_runner(config, work_dir, launcher, options)
    runner.train()
    return {k: v.clone() for k, v in whole_state_dict(runner.model).items()}


def evaluate(config: Path, work_dir: Path, launcher: str = 'none', **options) -> dict:
    """Test; returns the metrics."""
    return make_runner(config, work_dir, launcher, options).test()


def largest_difference(ours: dict, theirs: dict) -> float:
    """Largest difference between tensors of two dicts with the same keys."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[k] - theirs[k]).abs().max()) for k in ours)
