"""The configs of the benchmarks parse, build, and keep to the protocol."""

import numpy as np
import pytest
from mmengine import Config
from mmseg.registry import DATASETS, METRICS, TRANSFORMS

from mmseg_ovs.composition import compose
from mmseg_ovs.structures import Vocabulary
from tests.tool_loader import ROOT

FOLDER = ROOT / 'configs' / '_base_' / 'datasets'
# file: class, number of classes, first class, background ignored by renumbering
BENCHMARKS = {
    'voc21': ('PascalVOCDataset', 21, 'background', False),
    'voc20': ('PascalVOC20Dataset', 20, 'aeroplane', True),
    'context60': ('PascalContextDataset', 60, 'background', False),
    'context59': ('PascalContextDataset59', 59, 'aeroplane', True),
    'coco_object': ('COCOObjectDataset', 81, 'background', False),
    'coco_stuff164k': ('COCOStuffDataset', 171, 'person', False),
    'cityscapes': ('CityscapesDataset', 19, 'road', False),
    'ade20k': ('ADE20KDataset', 150, 'wall', True),
    'voc20b': ('PascalVOC20bDataset', 21, 'aeroplane', False),
    'context459': ('PascalContext459Dataset', 459, 'accordion', False),
    'ade20k_847': ('ADE20K847Dataset', 847, 'wall', False),
}
DINOTXT_BENCHMARKS = list(BENCHMARKS)[:8]


def build_lazily(cfg, tmp_path):
    """Build without data: mmseg's VOC and Context classes look for their list."""
    cfg = dict(cfg, lazy_init=True, data_root=str(tmp_path))
    if 'ann_file' in cfg:
        for name in (cfg['ann_file'], cfg['data_prefix']['img_path'] + '/x'):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return DATASETS.build(cfg)


@pytest.mark.parametrize('name', BENCHMARKS)
def test_benchmark(name, tmp_path):
    kind, number, first, reduces = BENCHMARKS[name]
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    assert cfg.test_dataloader.dataset.type == kind
    assert cfg.test_dataloader.dataset.data_root.startswith('data/')
    dataset = build_lazily(cfg.test_dataloader.dataset, tmp_path)
    assert len(dataset.metainfo['classes']) == number
    assert dataset.metainfo['classes'][0] == first
    assert dataset.reduce_zero_label is reduces
    assert cfg.val_dataloader == cfg.test_dataloader
    # The runner refuses a data loader without its loop.
    assert (cfg.val_cfg.type, cfg.test_cfg.type) == ('ValLoop', 'TestLoop')

    pipeline = cfg.test_dataloader.dataset.pipeline
    types = [step.type for step in pipeline]
    assert types.index('Resize') < types.index('LoadLabelMap')
    assert pipeline[1].scale == (2048, 448) and pipeline[1].keep_ratio
    loader = next(step for step in pipeline if step.type == 'LoadLabelMap')
    # Data sets of this package tell the loader; mmseg's need the number here.
    assert loader.get('num_classes', number) == number
    if type(dataset).__module__.startswith('mmseg.'):
        assert 'num_classes' in loader
    for step in pipeline:
        TRANSFORMS.build(step)
    metric = METRICS.build(cfg.test_evaluator)
    assert metric.ignore_index == dataset.ignore_index >= number


@pytest.mark.parametrize('name', DINOTXT_BENCHMARKS)
def test_benchmark_at_dinotxts_size(name):
    """The authors' resize in place of the benchmark's own, and nothing else."""
    cfg = compose('dinotxt_dinov3-l16', name.replace('_', '-'))
    base = Config.fromfile(FOLDER / f'{name}.py').test_dataloader
    ours = cfg.test_dataloader
    resize = ours.dataset.pipeline[1]
    shown = TRANSFORMS.build(resize)(dict(img=np.zeros((60, 90, 3), np.uint8)))
    assert shown['img'].shape == (512, 768, 3)
    assert (resize.interpolation, resize.backend) == ('bicubic', 'pillow')
    ours.dataset.pipeline[1] = base.dataset.pipeline[1]
    assert ours == base
    vocabulary = cfg.default_hooks.vocabulary.get('vocabulary')
    if vocabulary is not None:
        vocabulary = Vocabulary.build(vocabulary)
        assert vocabulary.num_classes == BENCHMARKS[name][1]
        assert len(vocabulary.synonyms[0]) > 20  # what stands for the background


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_camvid(split, tmp_path):
    cfg = Config.fromfile(FOLDER / 'camvid.py')
    dataset = build_lazily(cfg[f'{split}_dataloader'].dataset, tmp_path)
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 11
    assert dataset.data_prefix['img_path'].endswith(split)


# Others have data to train on themselves.
@pytest.mark.parametrize('name', sorted(set(BENCHMARKS) - {'coco_stuff164k'}))
def test_captions_and_a_benchmark_can_be_inherited_together(name, tmp_path):
    child = tmp_path / 'child.py'
    bases = [str(FOLDER / f'{base}.py') for base in ('coco_captions', name)]
    child.write_text(f'_base_ = {bases}')
    cfg = Config.fromfile(child)
    assert cfg.train_dataloader.dataset.type == 'COCOCaptionsDataset'
    assert cfg.test_dataloader.dataset.type == BENCHMARKS[name][0]
    assert 'caption' in cfg.train_dataloader.dataset.pipeline[-1].meta_keys
    build_lazily(cfg.train_dataloader.dataset, tmp_path)


def test_configs_are_data_only():
    for path in FOLDER.glob('*.py'):
        text = path.read_text()
        assert 'import ' not in text, path.name
        cfg = Config.fromfile(path)
        assert any(key.endswith('_dataloader') for key in cfg), path.name
