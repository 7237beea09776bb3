"""The label of unlabelled pixels is the same in all parts of a run."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.dataset import ConcatDataset
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS, MODELS

from mmseg_ovs.datasets import NounMasksDataset
from mmseg_ovs.engine.hooks import IgnoreIndexHook
from mmseg_ovs.engine.ignore_values import IgnoreIndexError
from mmseg_ovs.evaluation import OpenVocabIoUMetric
from tests.engine.tiny_run import MODEL

WIDE = 65535


def data(ignore=255, classes=3, steps=(), loader=None, kind='OpenVocabSegDataset'):
    names = tuple(f'thing {i}' for i in range(classes))
    pipeline = [dict(type='LoadLabelMap', **(loader or {})), *steps]
    cfg = dict(type=kind, metainfo=dict(classes=names), ignore_index=ignore)
    cfg.update(img_suffix='.py', data_prefix=dict(img_path=str(Path(__file__).parent)))
    return DATASETS.build(dict(cfg, pipeline=pipeline))  # no file of it is read


def model(ignore=255, pad=255, **head):
    cfg = dict(MODEL['decode_head'], ignore_index=ignore, **head)
    preprocessor = dict(MODEL['data_preprocessor'], seg_pad_val=pad)
    return MODELS.build(dict(MODEL, decode_head=cfg, data_preprocessor=preprocessor))


def check(train, net=None, test=None, metrics=()):
    """Run the hook before a training with a validation."""
    loop = SimpleNamespace(
        dataloader=SimpleNamespace(dataset=train if test is None else test),
        evaluator=SimpleNamespace(metrics=metrics),
    )
    runner = SimpleNamespace(
        model=net or model(),
        cfg=dict(val_evaluator=[{}] * len(metrics), test_evaluator={}),
        train_dataloader=SimpleNamespace(dataset=train),
        val_loop=loop,
        test_loop=loop,
    )
    IgnoreIndexHook().before_train(runner)
    IgnoreIndexHook().before_test(runner)


@pytest.mark.parametrize('value', [254, 255, WIDE])
def test_values_that_agree_pass(value):
    crop = dict(type='RandomCrop', crop_size=(8, 8), cat_max_ratio=0.75)
    steps = [dict(crop, ignore_index=value), dict(type='Pad', size=(9, 9))]
    steps[1]['pad_val'] = dict(img=0, seg=value)
    metrics = [OpenVocabIoUMetric(ignore_index=value)]
    dice = [dict(type='DiceLoss', ignore_index=value)]
    check(
        data(value, steps=steps), model(value, value, loss_decode=dice), None, metrics
    )


HEAD = 'model.decode_head.ignore_index=255'


@pytest.mark.parametrize(
    ('train', 'net', 'message'),
    [
        (
            lambda: data(254),
            lambda: model(pad=254),
            f'dataset.ignore_index=254, but {HEAD}',
        ),
        (
            lambda: data(WIDE, 300),
            lambda: model(pad=WIDE),
            f'ignore_index=65535, but {HEAD}',
        ),
        (
            lambda: data(WIDE),
            lambda: model(WIDE),
            'but model.data_preprocessor.seg_pad_val=255',
        ),
        (
            lambda: data(classes=300),
            lambda: model(),
            'ignore_index=255 is one of the 300 classes',
        ),
        (
            lambda: data(WIDE),
            lambda: model(WIDE, WIDE, loss_decode=dict(type='DiceLoss')),
            'but model.decode_head.loss_decode.0.ignore_index=255',
        ),
        (
            lambda: data(loader=dict(ignore_index=254)),
            lambda: model(),
            'but train_dataloader.dataset.pipeline.0.ignore_index=254',
        ),
        (  # MMSegmentation does not tell the loader
            lambda: data(254, kind='BaseSegDataset', loader=dict(num_classes=3)),
            lambda: model(254, 254),
            'but train_dataloader.dataset.pipeline.0.ignore_index=255',
        ),
        (
            lambda: data(WIDE, steps=[dict(type='RandomRotate', prob=1.0, degree=9)]),
            lambda: model(WIDE, WIDE),
            'but train_dataloader.dataset.pipeline.1.seg_pad_val=255',
        ),
        (
            lambda: SimpleNamespace(dataset=ConcatDataset([data(), data(254)])),
            lambda: model(),
            'but train_dataloader.dataset.dataset.datasets.1.ignore_index=254',
        ),
        (
            lambda: NounMasksDataset('x', lazy_init=True),
            lambda: model(WIDE),
            'noun masks=255, but',
        ),
    ],
)
def test_the_odd_value_is_named(train, net, message):
    with pytest.raises(IgnoreIndexError, match=message):
        check(train(), net(), data())


def test_metrics_are_compared_before_the_training():
    metrics = [OpenVocabIoUMetric(), IoUMetric(ignore_index=254)]
    message = 'val_dataloader.*=255, but val_evaluator.1.ignore_index=254'
    with pytest.raises(IgnoreIndexError, match=message):
        check(data(), metrics=metrics)
    metrics[1].format_only = True
    check(data(), metrics=metrics)


def test_data_without_labels_and_targets_of_each_class_pass():
    captions = SimpleNamespace(metainfo={}, pipeline=None)
    check(captions, model(254), data())
    cat_seg = SimpleNamespace(
        ignore_index=WIDE,
        loss_sees_labels=False,
        loss_decode=MODELS.build(dict(type='DiceLoss')),
    )
    check(data(WIDE), SimpleNamespace(decode_head=cat_seg))
