"""Teacher features: extraction, resuming, training from them, damaged files."""

import json

import mmcv
import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from PIL import Image

from mmseg_ovs.datasets.feature_files import FeatureFileError
from mmseg_ovs.datasets.sample_errors import SampleError
from mmseg_ovs.datasets.teacher_features import read_features, write_features
from mmseg_ovs.datasets.transforms import LoadTeacherFeatures
from mmseg_ovs.jobs import JobError
from tests.tool_loader import ROOT, load_tool

IMAGES = 5

CONFIG = """
_base_ = '{root}/configs/ovs_dino/ovs-dino_tiny_shapes-112x112.py'
model = dict(
    data_preprocessor=dict(size=(56, 56)),
    auxiliary_head=dict(teacher=dict(init_cfg=None)),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root='{data}',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadLabelMap'),
            dict(type='Resize', scale=(56, 56)),
            dict(type='LoadTeacherFeatures', folder='{data}/features'),
            dict(type='PhotoMetricDistortion'),
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
train_cfg = dict(max_iters=2)
work_dir = '{data}/work'
"""


@pytest.fixture
def main():
    """The tool with a teacher of random weights."""
    tool = load_tool('tools/extract_teacher_features.py')
    return lambda words: tool.main([*words, '--allow-random'])


@pytest.fixture
def config(tmp_path):
    return write_inputs(tmp_path, IMAGES)


def write_inputs(folder, count):
    """Config of a tiny OVS-DINO, and images with labels."""
    rng = np.random.default_rng(0)
    for kind in ('images/train', 'annotations/train'):
        (folder / kind).mkdir(parents=True)
    for i in range(count):
        name = f'{i:05d}.png'
        pixels = rng.integers(0, 255, (60, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / 'images/train' / name)
        labels = rng.integers(0, 100, (60, 70), dtype=np.uint8)
        Image.fromarray(labels).save(folder / 'annotations/train' / name)
    path = folder / 'config.py'
    path.write_text(CONFIG.format(root=ROOT, data=folder))
    return path


def files(config):
    return sorted((config.parent / 'features').glob('*.safetensors'))


def test_extraction_resumes_and_training_reads_it(config, main):
    torch.manual_seed(0)  # the teacher's weights are drawn
    main([str(config), '--batch-size', '2'])
    first = files(config)
    assert [path.name for path in first] == [
        f'{i:05d}.png.safetensors' for i in range(IMAGES)
    ]
    folder = config.parent / 'features'
    manifest = json.loads((folder / 'manifest.json').read_text())
    assert manifest['pictures'] == IMAGES
    contents = [path.read_bytes() for path in first]

    # half is lost, one file is cut: only those are made again, the same bytes
    (folder / 'manifest.json').unlink()
    first[0].unlink()
    first[3].write_bytes(contents[3][:-10])
    untouched = first[1].stat().st_mtime_ns
    torch.manual_seed(0)
    main([str(config), '--batch-size', '1'])
    assert first[1].stat().st_mtime_ns == untouched
    again = [read_features(p, _setting(folder)) for p in files(config)]
    assert len(again) == IMAGES
    assert again[0].shape == (64, 14, 14) and again[0].dtype == torch.float16
    assert files(config)[1].read_bytes() == contents[1]

    cfg = Config.fromfile(config)
    init_default_scope('mmseg')
    runner = Runner.from_cfg(cfg)
    runner.train()
    # the teacher was not built
    assert runner.model.auxiliary_head.teacher._network is None


def _setting(folder):
    step = LoadTeacherFeatures(str(folder))
    step.transform(dict(img_path='00001.png'))
    return step.setting


@torch.no_grad()
def test_stored_features_are_the_teachers(config, main):
    torch.manual_seed(0)
    main([str(config)])
    torch.manual_seed(0)
    cfg = Config.fromfile(config)
    teacher = MODELS.build(cfg.model.auxiliary_head).teacher
    step = LoadTeacherFeatures(str(config.parent / 'features'))
    stored = step.transform(dict(img_path='images/train/00002.png'))
    image = Image.open(config.parent / 'images/train/00002.png')
    array = mmcv.imresize(np.asarray(image)[..., ::-1], (56, 56))
    image = torch.from_numpy(array.copy()).permute(2, 0, 1)
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    inputs = preprocessor(dict(inputs=[image]))['inputs']
    features = teacher(inputs)[0]
    assert torch.allclose(stored['teacher_features'], features, atol=5e-3)


def test_other_weights_are_another_setting(config, main):
    torch.manual_seed(0)
    main([str(config)])
    torch.manual_seed(1)
    with pytest.raises(SystemExit, match='was made in another setting'):
        main([str(config)])


def test_padded_features_are_a_setting_of_their_own(config, main):
    torch.manual_seed(0)
    main([str(config)])
    text = config.read_text().replace('teacher=dict(', "input_fit='pad', teacher=dict(")
    config.write_text(text)
    torch.manual_seed(0)
    with pytest.raises(SystemExit, match='was made in another setting'):
        main([str(config)])
    config.write_text(text.replace('/features', '/padded'))
    main([str(config)])
    folder = config.parent / 'padded'
    stored = read_features(folder / '00001.png.safetensors', _setting(folder))
    assert stored.shape == (64, 12, 14)  # 60 x 70 pixels in a square of 14 x 14 cells
    init_default_scope('mmseg')
    Runner.from_cfg(Config.fromfile(config)).train()
    config.write_text(config.read_text().replace("input_fit='pad', ", ''))
    with pytest.raises(ValueError, match=r"12 x 14 for .*same input_fit \('stretch'\)"):
        Runner.from_cfg(Config.fromfile(config)).train()


def test_chance_before_the_teacher_is_refused(config, main):
    step = "dict(type='LoadTeacherFeatures'"
    flip = "dict(type='RandomFlip', prob=0.5), "
    config.write_text(config.read_text().replace(step, flip + step))
    with pytest.raises(SystemExit, match='RandomFlip before LoadTeacherFeatures'):
        main([str(config)])


def test_a_config_without_the_step_is_refused(config, main):
    cfg = Config.fromfile(config)
    pipeline = cfg.train_dataloader.dataset.pipeline
    pipeline[:] = [t for t in pipeline if t.type != 'LoadTeacherFeatures']
    cfg.dump(config)
    with pytest.raises(SystemExit, match='needs LoadTeacherFeatures once'):
        main([str(config)])


def test_a_teacher_of_random_weights_is_refused(config):
    main = load_tool('tools/extract_teacher_features.py').main
    with pytest.raises(SystemExit, match='names no weights for teacher'):
        main([str(config)])
    assert not files(config)


def test_an_unfinished_folder_is_refused(tmp_path):
    step = LoadTeacherFeatures(str(tmp_path))
    with pytest.raises(FeatureFileError, match='extract_teacher_features.py'):
        step.transform(dict(img_path='a.png'))


def test_missing_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / 'a.png.safetensors'
    with pytest.raises(FeatureFileError, match='a.png.safetensors are missing'):
        read_features(path, 'x')
    write_features(path, torch.randn(4, 3, 3), 'x')
    assert read_features(path, 'x').shape == (4, 3, 3)
    with pytest.raises(JobError, match='in another setting'):
        read_features(path, 'y')
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)
    with pytest.raises(FeatureFileError, match='digests differ'):
        read_features(path, 'x')
    path.write_bytes(data[:-5])
    with pytest.raises(FeatureFileError, match='truncated'):
        read_features(path, 'x')


def test_features_that_overflow_are_refused(tmp_path):
    with pytest.raises(FeatureFileError, match='not finite'):
        write_features(tmp_path / 'a', torch.full((1, 2, 2), 1e6), 'x')


def test_flipped_pictures_do_not_go_with_stored_features(config, main):
    main([str(config)])
    text = config.read_text().replace(
        "dict(type='PhotoMetricDistortion')", "dict(type='RandomFlip', prob=1.0)"
    )
    config.write_text(text)
    cfg = Config.fromfile(config)
    init_default_scope('mmseg')
    with pytest.raises(SampleError, match='is flipped'):
        Runner.from_cfg(cfg).train()
