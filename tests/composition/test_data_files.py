"""Data that are not there are named in one line, before anything is built."""

import argparse

import pytest
from mmengine.config import Config

from mmseg_ovs.composition import MissingDataError, check_data_files
from mmseg_ovs.engine.launch import load_config


def config(root, **wrapper):
    dataset = dict(type='D', data_root=str(root), data_prefix=dict(img_path='images'))
    dataset = dict(wrapper, datasets=[dataset]) if wrapper else dataset
    return Config(dict(test_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize('wrapper', [{}, dict(type='ConcatDataset')])
def test_missing_folders_are_named(tmp_path, wrapper):
    cfg = config(tmp_path / 'data', **wrapper)
    key = 'datasets.0.data_root' if wrapper else 'dataset.data_root'
    with pytest.raises(MissingDataError, match=f'data is not there .*{key}=FOLDER'):
        check_data_files(cfg, 'test')
    (tmp_path / 'data').mkdir()
    with pytest.raises(MissingDataError, match='images is not there'):
        check_data_files(cfg, 'test')
    (tmp_path / 'data' / 'images').mkdir()
    check_data_files(cfg, 'train', 'test')


def arguments(model, data):
    return argparse.Namespace(
        **dict(config=model, data=data, cfg_options={}, work_dir=None, local_rank=0),
        launcher='none',
    )


@pytest.mark.parametrize(
    ('model', 'data', 'line'),
    [
        ('talk2dino_dinov2-b14', 'voc21', 'error: PascalVOCDataset: data/VOCdevkit'),
        ('talk2dino_dinov2-b14', None, 'a model without data .*--data.*voc21'),
        ('talk2dino', 'voc21', 'error: talk2dino is neither'),
    ],
)
def test_commands_end_with_one_line(model, data, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=line) as ended:
        load_config(arguments(model, data))
    assert '\n' not in str(ended.value)


def test_only_data_for_training_are_offered_for_training():
    with pytest.raises(SystemExit, match='There are: .*coco-captions') as ended:
        load_config(arguments('talk2dino_dinov2-b14', None), train=True)
    assert 'voc21' not in str(ended.value)


def test_loaders_without_a_backend_read_checked_images(tmp_path, capsys):
    image, label = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    own = dict(type='LoadImageFromFile', backend_args=dict(backend='local'))
    data = dict(type='OpenVocabSegDataset', data_root=str(tmp_path), pipeline=[image])
    stored = dict(image, color_type='unchanged')
    others = [own, stored, dict(image, imdecode_backend='tifffile')]
    sets = dict(type='ConcatDataset', datasets=[data, dict(data, pipeline=others)])
    content = dict(
        model=dict(type='Any'),
        test_dataloader=dict(dataset=sets),
        tta_pipeline=[image, label],
    )
    Config(content).dump(tmp_path / 'own.py')
    cfg = load_config(arguments(str(tmp_path / 'own.py'), None))
    first, second = cfg.test_dataloader.dataset.datasets
    checked = dict(backend='checked_images')
    assert first.pipeline[0].backend_args == checked
    assert [dict(step) for step in second.pipeline] == others
    assert cfg.tta_pipeline[0].backend_args == checked
    assert capsys.readouterr().err.count('checked_images') == 1
