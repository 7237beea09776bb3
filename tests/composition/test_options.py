"""Settings of the command line keep their spaces and are read by something."""

import argparse

import pytest

from mmseg_ovs.composition import (
    ConfigOptions,
    OptionError,
    apply_options,
    compose,
    parse_value,
)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ("['a drawing of {}']", ['a drawing of {}']),
        ('a drawing of {}', 'a drawing of {}'),
        ('[a photo, a drawing]', ['a photo', 'a drawing']),
        ('a,1e-3,true', ['a', 0.001, True]),
        ('[(1,2),(c,d)]', [(1, 2), ('c', 'd')]),
        ('{"a": 1}', {'a': 1}),
        ('"a, b"', 'a, b'),
        ('None', None),
        ('none', 'none'),
        ('384', 384),
        ('', ''),
        ('https://host/x.pth', 'https://host/x.pth'),
    ],
)
def test_values(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_settings_add_up_and_need_a_value(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    args = parser.parse_args(['--cfg-options', 'a=1', '--cfg-options', 'b=x=y'])
    assert args.cfg_options == {'a': 1, 'b': 'x=y'}
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', 'a'])
    assert 'KEY=VALUE' in capsys.readouterr().err


@pytest.fixture(scope='module')
def config():
    """A test, with the optimizer wrapper of a training."""
    cfg = compose('cat-seg_clip-b16', 'voc20b')
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1))
    return cfg


@pytest.mark.parametrize(
    'options',
    [{'test_evaluator.iou_metrics': ['mIoU']}, {'test_evaluator.7.prefix': 'x'}],
)
def test_values_that_cannot_be_merged_are_told_in_one_line(options):
    cfg = compose('text-similarity_mit-tiny_shapes-112x112', 'shapes')
    with pytest.raises(OptionError, match=r'test_evaluator.0.iou_metrics$'):
        apply_options(cfg, options)


def test_no_worker_is_no_persistent_worker(config):
    changed = config.copy()
    apply_options(changed, {'test_dataloader.num_workers': 0})
    assert changed.test_dataloader.persistent_workers is False


@pytest.mark.parametrize(
    ('key', 'hint'),
    [
        ('data_root', 'test_dataloader.dataset.data_root'),
        ('test_pipeline.1.scale', 'test_dataloader.dataset.pipeline.1.scale'),
        ('data_preprocessor.size', 'model.data_preprocessor.size'),
        ('model.backbone.modl', 'model.backbone.model'),
        ('model.bakbone.model', 'model.backbone'),
        ('test_evaluator.seen_vocabluary', 'test_evaluator.seen_vocabulary'),
        ('default_hooks.checkpoint.intervall', 'default_hooks.checkpoint.interval'),
        ('env_cfg.cudnn_benchmarks', 'env_cfg.cudnn_benchmark'),
        ('test_dataloader.batchsize', 'test_dataloader.batch_size'),
        ('default_hooks.chekpoint.interval', 'default_hooks.checkpoint.interval'),
        ('optim_wrapper.paramwise_cfg.norm_decay', ''),
        ('custom_hooks.0.type', ''),
        ('resume', '--resume'),
        ('max_iters', ''),
    ],
)
def test_keys_that_nothing_reads_are_refused(config, key, hint):
    with pytest.raises(OptionError, match=f'nothing reads {key}.*{hint}'):
        apply_options(config.copy(), {key: 1})


@pytest.mark.parametrize(
    'options',
    [
        {'test_dataloader.dataset.data_root': '/data/voc'},
        {'test_dataloader.dataset.pipeline.1.scale': (1, 2)},
        {'test_evaluator.format_only': True},
        {'test_evaluator.prefix': 'x'},
        {'optim_wrapper.clip_grad.max_norm': 1.0},
        {'optim_wrapper.constructor': 'LearningRateDecayOptimizerConstructor'},
        {'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult': 0.1},
        {'default_hooks.early.type': 'EarlyStoppingHook'},
        {'default_hooks.vocabulary.background.value': 0.3},
        {'model.decode_head.aggregator.class_chunk': 8},
        {'work_dir': 'w', 'load_from': 'x.pth', 'randomness.seed': 1},
        {
            'model.text_encoder._delete_': True,
            'model.text_encoder.type': 'PrecomputedTextEncoder',
            'model.text_encoder.path': 'names.safetensors',
        },
    ],
)
def test_keys_that_are_read(config, options):
    changed = config.copy()
    apply_options(changed, options)
    key, value = list(options.items())[-1]
    node = changed
    for name in key.split('.'):
        node = node[int(name)] if name.isdecimal() else node[name]
    assert node == value


def test_a_tool_that_only_builds_the_model_reads_nothing_else(config):
    with pytest.raises(OptionError, match='work_dir'):
        apply_options(config.copy(), {'work_dir': 'w'}, read=('model',))
