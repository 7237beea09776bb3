"""A tiny stock model on a tiny generated data set, for the scripts and for mim."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

# Nothing of ours but the import: what any MMSegmentation project would write.
CONFIG = """
_base_ = 'mmseg::_base_/default_runtime.py'
custom_imports = dict(imports=['mmseg_ovs'], allow_failed_imports=False)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale=(32, 32))],
        [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1.)],
        [dict(type='LoadAnnotations')],
        [dict(type='PackSegInputs')],
    ]),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset',
        data_root={root!r},
        metainfo=dict(classes=('red', 'blue'), palette=[[255, 0, 0], [0, 0, 255]]),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        pipeline=pipeline,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=train_dataloader['dataset'],
)
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=.01))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[128] * 3, std=[64] * 3, size=(32, 32)
    ),
    backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
    decode_head=dict(
        type='FCNHead',
        in_channels=32,
        in_index=3,
        channels=8,
        num_classes=2,
        num_convs=1,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    test_cfg=dict(mode='whole'),
)
"""


def write_config(folder: Path) -> Path:
    """Write four images (half red, half blue), their labels and the config."""
    label = np.zeros((32, 32), np.uint8)
    label[:, 16:] = 1
    image = np.zeros((32, 32, 3), np.uint8)
    image[label == 0] = (0, 0, 255)
    image[label == 1] = (255, 0, 0)
    for sub in ('img', 'ann'):
        (folder / 'data' / sub).mkdir(parents=True)
    for i in range(4):
        cv2.imwrite(str(folder / 'data' / 'img' / f'{i}.jpg'), image)
        cv2.imwrite(str(folder / 'data' / 'ann' / f'{i}.png'), label)
    path = folder / 'stock_fcn.py'
    path.write_text(CONFIG.replace('{root!r}', repr(str(folder / 'data'))))
    return path


@pytest.fixture(scope='session')
def write_stock_config() -> Callable[[Path], Path]:
    return write_config


@pytest.fixture
def stock_config(tmp_path: Path) -> Path:
    return write_config(tmp_path)
