"""Layers of any backbone, by the generic interface."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_ovs.analysis import BackboneConfigError, LayerFeatures
from mmseg_ovs.models.utils import CheckpointError
from tests import tiny
from tests.tiny import VIT

BACKBONES = dict(
    DINOv2=dict(tiny.BACKBONES['DINOv2'], arch=dict(VIT, depth=5), final_norm=False),
    SAMImageEncoder=dict(tiny.SAM, img_size=64, patch_size=16),
    VisionTransformer=dict(
        type='VisionTransformer',
        img_size=64,
        embed_dims=16,
        num_layers=5,
        num_heads=2,
        mlp_ratio=2,
    ),
    **tiny.STOCK_BACKBONES,
)


def config(kind, size=(64, 64), **options):
    return Config(
        dict(
            model=dict(backbone=dict(BACKBONES[kind], **options)),
            data_preprocessor=dict(
                type='SegDataPreProcessor',
                mean=[10.0, 20.0, 30.0],
                std=[2.0, 2.0, 2.0],
                bgr_to_rgb=True,
                size=size,
            ),
        )
    )


def make_image(height=50, width=70):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ('kind', 'count'),
    [
        ('DINOv2', 5),
        ('SAMImageEncoder', 3),
        ('ResNet', 4),
        ('MixVisionTransformer', 4),
        ('mmseg.VisionTransformer', 5),
    ],
)
def test_all_layers(kind, count):
    name = kind.removeprefix('mmseg.')
    network = LayerFeatures(config(name))
    maps = network(make_image())
    assert len(maps) == len(network.names) == count
    layers = [str(i) for i in range(count)]
    if name == 'SAMImageEncoder':
        layers[-1] = 'output'
    assert network.names == layers
    assert all(x.ndim == 4 and len(x) == 1 and not x.requires_grad for x in maps)
    assert any(not torch.equal(maps[0], x) for x in maps[1:])


def test_last_layers_are_those_of_all():
    cfg = config('DINOv2')
    torch.manual_seed(3)
    network = LayerFeatures(cfg, [-1, -3])
    assert network.names == ['2', '4']
    whole = LayerFeatures(cfg)
    whole.network.load_state_dict(network.network.state_dict())
    for found, expected in zip(
        network(make_image()), whole(make_image())[2::2], strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_image_is_normalised_as_the_config_says():
    network = LayerFeatures(config('DINOv2'))
    image = np.full((30, 80, 3), (0, 100, 200), np.uint8)  # blue, green, red
    seen = []
    network.network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network(image)
    assert seen[0].shape == (1, 3, 64, 64)
    torch.testing.assert_close(
        seen[0].mean((0, 2, 3)), torch.tensor([95.0, 40.0, -15.0])
    )


def test_extras_and_sizes():
    network = LayerFeatures(config('DINOv2', extra_outputs=('cls_token',)), size=28)
    assert {tuple(x.shape[1:]) for x in network(make_image())} == {(16, 2, 2)}


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_weights(tmp_path, prefix):
    cfg = config('DINOv2', init_cfg=dict(type='Pretrained', checkpoint='not/there.pth'))
    with pytest.raises(CheckpointError, match=r'not/there\.pth'):
        LayerFeatures(cfg)
    source = MODELS.build(dict(cfg.model.backbone, init_cfg=None))
    state = {prefix + key: value for key, value in source.state_dict().items()}
    if prefix:
        state['decode_head.weight'] = torch.zeros(1)
    torch.save(dict(state_dict=state), tmp_path / 'x.pth')
    network = LayerFeatures(cfg, weights=tmp_path / 'x.pth')
    for key, value in network.network.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key
    torch.save({'foreign': torch.zeros(1)}, tmp_path / 'y.pth')
    with pytest.raises(CheckpointError, match='does not fit'):
        LayerFeatures(cfg, weights=tmp_path / 'y.pth')


def test_mistakes():
    with pytest.raises(BackboneConfigError, match=r'5 layers, not \[-6\]'):
        LayerFeatures(config('DINOv2'), [-6])
    with pytest.raises(BackboneConfigError, match='size of the config is not set'):
        LayerFeatures(config('DINOv2', size=None))
    with pytest.raises(BackboneConfigError, match=r'no square: \(32, 64\)'):
        LayerFeatures(config('DINOv2', size=(32, 64)))
    with pytest.raises(BackboneConfigError, match='needs model.backbone'):
        LayerFeatures(Config(dict(model=dict())))
    tokens = LayerFeatures(config('VisionTransformer', output_cls_token=True))
    with pytest.raises(BackboneConfigError, match='output_cls_token=False'):
        tokens(make_image())
