"""The transfers of full-size models, one config of each architecture: minutes each.

Of images, and of training steps without their backward passes.

Only with ``pytest --full-size tests/properties``, see tests/conftest.py.
"""

import functools

import numpy as np
import pytest
import torch
import yaml
from mmengine import Config
from mmengine.dataset import Compose, pseudo_collate

from mmseg_ovs.apis import find_config
from mmseg_ovs.composition import compose
from tests.acceleration.test_switches import WORDS, build, make
from tests.properties.device_meter import AVAILABLE, fake_gpu, to_host
from tests.properties.test_device import check_training_step, inherent_reads
from tests.tool_loader import ROOT

pytestmark = pytest.mark.skipif(
    not AVAILABLE, reason='this PyTorch has other private functions'
)
# Parts that an image does not pass through.
ASIDE = 'data_preprocessor', 'text_encoder', 'test_cfg', 'train_cfg', 'loss_decode'
ASIDE += 'init_cfg', 'norm_cfg', 'act_cfg'


def modules(part):
    """Types of the modules in a config that an image passes through."""
    if isinstance(part, dict):
        below = (value for key, value in part.items() if key not in ASIDE)
        return frozenset({part['type']} if 'type' in part else ()).union(
            *map(modules, below)
        )
    if isinstance(part, list | tuple):
        return frozenset().union(*map(modules, part))
    return frozenset()


def configs():
    """Names and configs of the metafiles."""
    for path in sorted((ROOT / 'configs').glob('*/metafile.yml')):
        for model in yaml.safe_load(path.read_text(encoding='utf-8'))['Models']:
            if 'tiny' not in model['Name']:
                yield model['Name'], Config.fromfile(find_config(model['Name']))


def architectures():
    """The first config of the metafiles with each set of modules that predicts."""
    found = {}
    for name, cfg in configs():
        kinds = modules(cfg.model)
        if kinds & {'OpenVocabSegmentor', 'OpenVocabSAN'}:
            found.setdefault(kinds, name)
    return list(found.values())


def trainings():
    """The first training with each set of modules, and with each way to load data."""
    known, found = set(), []
    for name, cfg in configs():
        own = ['own-data'] if 'train_dataloader' in cfg else []
        for data in own or cfg.get('train_overrides', ()):
            cfg = cfg if own else compose(name, data, train=True)
            pipeline = cfg.train_dataloader.dataset.get('pipeline', ())
            kinds = {modules(cfg.model), tuple(t['type'] for t in pipeline)}
            if kinds - known:
                found.append(pytest.param(cfg, id=f'{name}_{data}'))
            known |= kinds
    return found


def from_arrays(pipeline):
    """A pipeline that gets what its loaders would read, and their types."""
    loaders = {t['type'] for t in pipeline if t['type'].startswith('Load')}
    return Compose([t for t in pipeline if t['type'] not in loaders]), loaders


@pytest.mark.parametrize('name', architectures())
def test_an_image_in_at_most_five_transfers(name):
    """Resized as the config says; labels are the CPU's but where rounding decides."""
    model = build(name)
    if model.test_cfg.mode == 'local-global':  # four windows, not nine
        model.test_cfg.stride = [2 * side for side in model.test_cfg.stride]
    resize = from_arrays(Config.fromfile(find_config(name)).test_pipeline)[0]
    image = np.random.randint(256, size=(512, 683, 3), dtype=np.uint8)
    sample = dict(img=image, img_shape=(512, 683), ori_shape=(512, 683))
    data = pseudo_collate([resize(sample)])
    (expected,) = model.test_step(data)
    with fake_gpu() as meter:
        model.to('cuda')
        model.test_step(data)  # encodes the names, and keeps what the size needs
        meter.clear()
        (found,) = model.test_step(data)
        assert meter.copies.total() + meter.reads.total() <= 5, meter.describe()
    found, expected = (x.pred_sem_seg.data for x in (found, expected))
    assert found.device.type == 'cuda'
    # Random weights leave names nearly tied: noise of 1e-7 on the features alone
    # changes 1e-4 of the labels of dinov3-seg_clip-l14, 2e-4 in a graph of patches.
    assert (to_host(found) != expected).double().mean() < 1e-3


def drawn(cfg):
    """A batch of two as a training's data set and pipeline make it; nothing is read."""
    draw = torch.Generator().manual_seed(0)
    pipeline = cfg.train_dataloader.dataset.get('pipeline')
    if not pipeline:  # features of images and of captions
        shapes = dict(visual=(2, 12, 768), text=(2, 512))
        return {name: torch.randn(s, generator=draw) for name, s in shapes.items()}
    np.random.seed(0)
    rest, loaders = from_arrays(pipeline)
    samples, size = [], (480, 640)
    for i in range(2):
        image = np.random.randint(256, size=(*size, 3), dtype=np.uint8)
        labels = np.random.choice([0, 1, 2, 255], (6, 8)).astype(np.uint16)
        labels = labels.repeat(80, axis=0).repeat(80, axis=1)
        sample = dict(img=image, img_shape=size, ori_shape=size, img_path=f'{i}.jpg')
        sample |= dict(caption=f'a photo of a {WORDS[i]}', seg_fields=[])
        if 'LoadLabelMap' in loaders:
            sample |= dict(gt_seg_map=labels, seg_fields=['gt_seg_map'])
        if 'LoadNounMasks' in loaders:
            masks = (labels[..., None] == [i, i + 1]).astype(np.uint8)
            sample |= dict(gt_noun_masks=masks, seg_fields=['gt_noun_masks'])
            sample |= dict(nouns=WORDS[i : i + 2])
        if 'LoadTeacherFeatures' in loaders:
            grid = [side // 16 for side in cfg.model.auxiliary_head.input_size]
            features = torch.randn(256, *grid, generator=draw)
            sample |= dict(teacher_features=features)
        samples.append(rest(sample))
    return pseudo_collate(samples)


@pytest.mark.parametrize('cfg', trainings())
def test_a_training_step_reads_two_values_besides_the_loss(cfg):
    model = make(cfg.model).train()
    draw = functools.partial(drawn, cfg)
    check_training_step(model, inherent_reads(model), draw, rtol=1e-4, atol=0)
