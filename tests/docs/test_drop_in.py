"""The project of docs/use_in_your_project.md, trained by mim, used by mmseg's own API.

mim runs in the environment of the tests (the wheel in a clean one is tested in
tests/packaging/test_wheel_mim.py); what it starts is mmseg's unmodified script.
"""

import os
import shutil
from pathlib import Path

import cv2
import mmseg.registry
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import Registry, init_default_scope
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS

from tests.tool_loader import ROOT, run_process

PROJECT = ROOT / 'docs' / 'drop_in'
COLOURS = np.array([(50, 85, 120), (70, 160, 70), (60, 70, 220)], np.uint8)  # BGR
# What a stock project has of ours.
OURS = {'BackboneWithNeck', 'DINOv3', 'AnyUp'}


@pytest.fixture(scope='module')
def project(tmp_path_factory) -> Path:
    """A copy of the project with four images of 64 x 80 pixels."""
    folder = tmp_path_factory.mktemp('drop_in') / 'project'
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns('__pycache__'))
    generator = np.random.default_rng(0)
    for split in ('train', 'val'):
        for kind in ('images', 'labels'):
            (folder / 'data/weeds' / kind / split).mkdir(parents=True)
        for i in range(4):
            small = generator.integers(0, 3, (4, 5), dtype=np.uint8)
            labels = small.repeat(16, 0).repeat(16, 1)
            labels[:2] = 255
            for kind, pixels in dict(images=COLOURS[small], labels=labels).items():
                if kind == 'images':
                    pixels = pixels.repeat(16, 0).repeat(16, 1)
                path = folder / 'data/weeds' / kind / split / f'{i}.png'
                cv2.imwrite(str(path), pixels)
    return folder


@pytest.fixture(scope='module')
def trained(project) -> tuple[Path, str]:
    """The checkpoint of a training by mim, and what was printed."""
    command = ('-m', 'mim', 'train', 'mmsegmentation', 'weeds_tiny.py')
    path = f'.{os.pathsep}{ROOT}'
    done = run_process(*command, '--work-dir', 'work', cwd=project, PYTHONPATH=path)
    return project / 'work' / 'iter_2.pth', done.stdout


@pytest.fixture
def in_project(project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))


def types(cfg: object) -> set[str]:
    """Every ``type`` in a config."""
    if isinstance(cfg, dict):
        own = {cfg['type']} if isinstance(cfg.get('type'), str) else set()
        return own.union(*map(types, cfg.values()))
    if isinstance(cfg, list | tuple):
        return set().union(*map(types, cfg))
    return set()


@pytest.mark.slow
def test_mim_trains_it_with_mmsegs_script(trained):
    checkpoint, printed = trained
    assert 'mmseg/.mim/tools/train.py' in printed
    content = torch.load(checkpoint, weights_only=True)
    assert content['meta']['iter'] == 2
    assert content['meta']['dataset_meta']['classes'] == ('soil', 'crop', 'weed')


@pytest.mark.slow
def test_mmsegs_own_api_uses_the_result(trained, in_project):
    checkpoint, _ = trained
    model = init_model('weeds_tiny.py', str(checkpoint), device='cpu')
    image = cv2.imread('data/weeds/images/val/0.png')
    with torch.no_grad():
        (maps,) = model.backbone(torch.zeros(1, 3, 64, 80))
    assert maps.shape == (1, 48, 16, 20)  # four times the patch grid
    labels = inference_model(model, image).pred_sem_seg.data
    assert labels.shape == (1, 64, 80)
    assert set(labels.unique().tolist()) <= {0, 1, 2}
    learning = {n.split('.')[0] for n, p in model.named_parameters() if p.requires_grad}
    assert learning == {'decode_head'}


def test_nothing_of_ours_but_import_backbone_and_neck(in_project):
    cfg = Config.fromfile('weeds_dinov3-b16_anyup.py')
    assert cfg.custom_imports['imports'] == ['mmseg_ovs', 'weeds']
    found = [r for r in vars(mmseg.registry).values() if isinstance(r, Registry)]
    ours = {
        name
        for name in types(cfg.to_dict())
        for registry in found
        if name in registry.module_dict
        and registry.module_dict[name].__module__.startswith('mmseg_ovs')
    }
    assert ours == OURS
    assert not any('text_encoder' in key for key in cfg.model)


def test_the_full_config_builds(in_project):
    cfg = Config.fromfile('weeds_dinov3-b16_anyup.py')
    init_default_scope('mmseg')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained < 0.05 * sum(p.numel() for p in model.parameters())
