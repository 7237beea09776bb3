"""Models and data sets become one config at run time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_ovs.composition import (
    CompositionError,
    UnknownConfigError,
    compose,
    find_config,
    shipped_data,
    shipped_models,
)
from mmseg_ovs.composition.compose import merge
from tests.composition.deltas import digest
from tests.tool_loader import ROOT

# Of the config files, one for each model and data set, that composition has replaced.
DIGESTS = json.loads(Path(__file__).with_name('digests.json').read_text())


@pytest.mark.parametrize('model', DIGESTS)
def test_composed_configs_equal_the_files_they_replace(model):
    own = Config.fromfile(find_config(model)).to_dict()
    composed = {name: compose(model, name).to_dict() for name in DIGESTS[model]}
    assert {n: digest(cfg, own) for n, cfg in composed.items()} == DIGESTS[model]


def background(cfg):
    return cfg.default_hooks.vocabulary.get('background')


def test_an_ablation_inherits_what_its_method_sets_for_a_data_set():
    cfg = compose('ovs-dino_dinov2-b14_wo-gate', 'voc21')
    assert (
        cfg.model == Config.fromfile(find_config('ovs-dino_dinov2-b14_wo-gate')).model
    )
    assert cfg.test_dataloader.dataset.type == 'PascalVOCDataset'
    assert background(cfg) == dict(type='threshold', value=0.5)
    assert background(compose('ovs-dino_dinov2-b14_wo-gate', 'ade20k')) is None


def test_a_model_changes_the_table_of_its_base():
    for model, value in (('dinov2-reg-b14', 0.55), ('dinov2-reg-l14', 0.54)):
        cfg = compose(f'talk2dino_{model}', 'voc21')
        assert background(cfg).value == value
        kinds = [processor.type for processor in cfg.model.postprocessors]
        assert kinds == ['BackgroundCleaning', 'PAMR']


def test_images_are_resized_as_the_model_says():
    def resizes(model, data):
        pipeline = compose(model, data).test_dataloader.dataset.pipeline
        return [t.scale for t in pipeline if t.type == 'Resize']

    assert resizes('dinotxt_dinov3-l16', 'camvid') == [(8192, 512)]
    assert resizes('dinov3-seg_l16', 'camvid') == []
    assert resizes('talk2dino_dinov2-b14', 'camvid') == [(2048, 448)]


@pytest.mark.parametrize('data', shipped_data())
def test_a_runner_takes_every_composed_test(data):
    try:
        cfg = compose('text-similarity_mit-tiny_shapes-112x112', data)
    except CompositionError:
        pytest.skip('no test data')
    for part in ('val', 'test'):
        keys = [f'{part}_{name}' for name in ('dataloader', 'cfg', 'evaluator')]
        assert len({key in cfg for key in keys}) == 1


def test_other_data_replace_those_of_a_whole_config():
    model = 'text-similarity_mit-tiny_shapes-112x112'
    cfg = compose(model, 'camvid')
    assert cfg.test_dataloader.dataset.data_prefix.img_path == 'test'
    assert not {'train_dataloader', 'optim_wrapper'} & set(cfg)
    assert cfg.filename == f'{model}_camvid.py'


@pytest.mark.parametrize(
    ('model', 'data'),
    [(m, 'coco-captions') for m in shipped_models() if m.startswith('talk2dino')]
    + [(m, 'coco-pseudo-masks') for m in shipped_models() if 'ovs-dino_dino' in m]
    + [
        (m, 'coco-stuff164k')
        for m in ('cat-seg_clip-b16', 'dinov3-seg_l16_wo-spe', 'dinov3-seg_clip-l14')
    ],
)
def test_training_has_data_and_a_schedule(model, data):
    if model.endswith(('_camvid', '_coco-features')):
        pytest.skip('a whole config')
    cfg = compose(model, data, train=True)
    assert cfg.train_dataloader and cfg.optim_wrapper and cfg.train_cfg.type
    assert cfg.get('find_unused_parameters', False) == model.endswith('wo-gate')
    assert not {'data_overrides', 'train_overrides', 'schedule'} & set(cfg)


def test_training_starts_without_the_weights_that_it_makes():
    cfg = compose('talk2dino_dinov2-reg-b14', 'coco-captions', train=True)
    assert cfg.model.decode_head.text_projection.init_cfg is None
    cfg = compose('cat-seg_clip-b16', 'coco-stuff164k', train=True)
    assert cfg.model.init_cfg is None and cfg.model.backbone.pretrained == 'openai'
    assert compose('cat-seg_clip-b16', 'coco-stuff164k').model.init_cfg is not None


def test_a_change_reaches_the_metric_of_its_type():
    metrics = [dict(type='A'), dict(type='B', b=1), dict(type='B')]
    merged = merge(
        dict(test_evaluator=metrics), dict(test_evaluator=dict(type='B', b=2))
    )
    assert merged == dict(
        test_evaluator=[dict(type='A'), dict(type='B', b=2), dict(type='B', b=2)]
    )
    with pytest.raises(CompositionError, match="no entry of type 'C'"):
        merge(dict(test_evaluator=metrics), dict(test_evaluator=dict(type='C')))


@pytest.mark.parametrize(
    ('model', 'data', 'train', 'error', 'message'),
    [
        ('talk2dino_dinov2-reg-b4', 'voc21', False, UnknownConfigError, 'reg-b14'),
        ('talk2dino_dinov2-b14', 'voc2l', False, UnknownConfigError, 'voc21'),
        ('talk2dino_dinov2-b14', 'coco-captions', False, CompositionError, 'tested on'),
        ('talk2dino_dinov2-b14', 'voc21', True, CompositionError, 'trained on'),
        ('ovs-dino_dinov2-b14', 'camvid', True, CompositionError, 'no schedule'),
        ('talk2dino_dinov2-b14_voc21', 'voc21', 0, UnknownConfigError, '--data voc21'),
        ('own/talk2dino_dinov2-b14.py', 'voc21', 0, UnknownConfigError, 'neither a fi'),
        ('talk2dino_dinov2-b14', 'own/voc21.py', 0, UnknownConfigError, 'neither a fi'),
    ],
)
def test_what_does_not_go_together(model, data, train, error, message):
    with pytest.raises(error, match=message):
        compose(model, data, train)


def test_every_way_of_resizing_is_replaced(tmp_path):
    path = tmp_path / 'mine.py'
    steps = ['LoadImageFromFile', 'mmseg.Resize', 'ResizeShortestEdge', 'LoadLabelMap']
    pipeline = [dict(type=name) for name in [*steps, 'PackSegInputs']]
    inner = dict(type='BaseSegDataset', pipeline=pipeline)
    loader = dict(dataset=dict(type='RepeatDataset', dataset=inner))
    path.write_text(f'test_dataloader = {loader!r}\ntest_evaluator = dict(type="A")')
    cfg = compose('talk2dino_dinov2-b14', path)
    kept = [t.type for t in cfg.test_dataloader.dataset.dataset.pipeline]
    assert kept == ['LoadImageFromFile', 'Resize', 'LoadLabelMap', 'PackSegInputs']


def test_data_of_the_model_do_not_stay_beside_others():
    cfg = compose(
        'text-similarity_mit-tiny_shapes-112x112', 'coco-captions', train=True
    )
    assert 'val_dataloader' not in cfg and 'val_cfg' not in cfg


def test_a_whole_config_is_no_data_set(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('model = dict()\ntest_dataloader = dict()\ntest_evaluator = dict()')
    with pytest.raises(CompositionError, match='sets model'):
        compose('text-similarity_mit-tiny_shapes-112x112', path)


def test_data_sets_go_by_name_or_path(tmp_path):
    source = shipped_data()['ade20k-847']
    path = tmp_path / 'ade20k_847.py'
    path.write_text(source.read_text())
    by_path = compose('cat-seg_clip-b16', path)
    assert by_path.to_dict() == compose('cat-seg_clip-b16', 'ade20k_847').to_dict()


@pytest.mark.slow
def test_the_flat_file_is_read_without_the_package(tmp_path):
    out = tmp_path / 'flat.py'
    command = [sys.executable, 'tools/compose.py', 'cat-seg_clip-b16', 'voc20b']
    subprocess.run([*command, '--out', out], cwd=ROOT, check=True)
    flat = Config.fromfile(out)
    assert flat.to_dict() == compose('cat-seg_clip-b16', 'voc20b').to_dict()
    assert flat.custom_imports['imports'] == ['mmseg_ovs']
