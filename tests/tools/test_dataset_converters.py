"""The converters' command lines: exit codes and where things go."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmseg_ovs.datasets.converters import coco_object, pascal_context
from tests.tool_loader import load_tool


def load(name):
    return load_tool(f'tools/dataset_converters/{name}.py').main


@pytest.fixture
def coco(tmp_path):
    for split in ('train', 'val'):
        for folder, suffix in (('images', 'jpg'), ('annotations', 'png')):
            path = tmp_path / folder / f'{split}2017' / f'000000000001.{suffix}'
            path.parent.mkdir(parents=True)
            Image.new('L', (8, 8)).save(path)
    return tmp_path


def test_exit_codes(coco, monkeypatch, capsys):
    main = load('coco_object')
    assert main([str(coco), '--splits', 'val']) == 1
    out = capsys.readouterr().out
    assert 'coco_object_val: 1 of 5000 images' in out
    assert '4999 more belong' in out
    monkeypatch.setattr(coco_object, 'SPLITS', dict(train=1, val=1))
    assert main([str(coco)]) == 0
    assert 'coco_object_train: 1 of 1 images (1 made now)' in capsys.readouterr().out
    # One split cannot be planned; the other is done all the same.
    shutil.rmtree(coco / 'images' / 'train2017')
    assert main([str(coco)]) == 2
    captured = capsys.readouterr()
    assert 'train: there is no folder' in captured.err
    assert 'coco_object_val: 1 of 1 images (0 made now)' in captured.out


def test_coco_object_from_instances(coco, capsys):
    assert load('coco_object')([str(coco), '--source', 'instances']) == 2
    assert 'instances_val2017.json is missing' in capsys.readouterr().err


def test_ade20k_847_goes_beside_its_source(tmp_path, capsys):
    source = tmp_path / 'ADE20K_2021_17_01'
    folder = source / 'images/ADE/validation/a'
    folder.mkdir(parents=True)
    Image.new('RGB', (8, 8)).save(folder / 'ADE_val_00000001.jpg')
    Image.new('RGB', (8, 8)).save(folder / 'ADE_val_00000001_seg.png')
    main = load('ade20k_847')
    assert main([str(source), '--splits', 'val']) == 1
    assert (tmp_path / 'ADE20K_847/annotations/validation').is_dir()
    other = tmp_path / 'other'
    assert main([str(source), '--splits', 'val', '--out', str(other)]) == 1
    assert (other / 'ade20k_847_val.sha256').is_file()
    assert 'ade20k_847_val: 1 of 2000 images' in capsys.readouterr().out


def test_context(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pascal_context, 'SPLITS', dict(train=1, val=1))
    for folder in ('JPEGImages', 'trainval', 'ImageSets/SegmentationContext'):
        (tmp_path / folder).mkdir(parents=True)
    Image.new('L', (8, 8)).save(tmp_path / 'JPEGImages' / 'a.jpg')
    savemat(tmp_path / 'trainval/a.mat', dict(LabelMap=np.ones((8, 8), np.uint16)))
    (tmp_path / 'ImageSets/SegmentationContext/val.txt').write_text('a\n')
    assert load('context459')([str(tmp_path), '--splits', 'val']) == 0
    assert load('context60')([str(tmp_path), '--splits', 'val']) == 2
    captured = capsys.readouterr()
    assert 'context459_val: 1 of 1 images' in captured.out
    assert 'trainval_merged.json is missing' in captured.err
